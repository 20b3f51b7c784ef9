"""Identifiers: references to resources, SPIFFE ids and table keys, each with its only parser."""

import re
from typing import NewType

from msgspec import Struct

Ref = NewType("Ref", str)
"""Names a resource: `<Kind>/<namespace>/<name>`; no namespace if cluster-scoped."""

ServiceKey = NewType("ServiceKey", str)
"""Names a service: `<namespace>/<host>`, and `/<entry>` if a ServiceEntry declares it."""

WorkloadKey = NewType("WorkloadKey", str)
"""Names a workload: `<namespace>/<name>`, or `<namespace>/entry/<name>` if it is no pod."""

MAX_SPIFFE_ID_BYTES = 2048
_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SEGMENT = re.compile(r"[a-zA-Z0-9._-]{1,253}")


def ref(kind: str, namespace: str, name: str) -> Ref:
    """Return the reference of one resource."""
    return Ref(f"{kind}/{namespace}/{name}")


def parse_ref(reference: Ref) -> tuple[str, str, str]:
    """Return `(kind, namespace, name)` of a reference made by `ref`."""
    kind, namespace, name = reference.split("/", 2)
    return kind, namespace, name


def service_key(namespace: str, host: str, entry: str = "") -> ServiceKey:
    """Return the key under which a service stands in the mesh.

    Several resources may declare one host of a namespace, so a ServiceEntry adds its own name.
    """
    return ServiceKey(f"{namespace}/{host}/{entry}" if entry else f"{namespace}/{host}")


def workload_key(namespace: str, name: str) -> WorkloadKey:
    """Return the key under which a workload stands in the mesh."""
    return WorkloadKey(f"{namespace}/{name}")


def entry_key(namespace: str, name: str) -> WorkloadKey:
    """Return the key of a workload that a WorkloadEntry describes: a pod may have its name."""
    return WorkloadKey(f"{namespace}/entry/{name}")


class SpiffeId(Struct, frozen=True, order=True, gc=False):
    """The identity of a service: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`."""

    trust_domain: str
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"spiffe://{self.principal}"

    @property
    def principal(self) -> str:
        """The identity without its scheme, as authorization policies write it."""
        return f"{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"


def parse_spiffe_id(text: str) -> SpiffeId:
    """Return the identity that `text` names.

    Strict: no percent encoding, no dot segments, lower-case trust domain, exactly the
    five segments of a service identity. This is the only parser of SPIFFE ids in the project.

    Raises:
        ValueError: `text` is not the id of a service; the message says what is wrong.

    """
    if len(text.encode()) > MAX_SPIFFE_ID_BYTES:
        message = f"a SPIFFE id has at most {MAX_SPIFFE_ID_BYTES} bytes"
        raise ValueError(message)
    scheme, _, rest = text.partition("://")
    segments = rest.split("/")
    if scheme != "spiffe" or len(segments) != 5 or segments[1] != "ns" or segments[3] != "sa":
        message = f"not of the form spiffe://<trust domain>/ns/<namespace>/sa/<account>: {text!r}"
        raise ValueError(message)
    domain, _, namespace, _, account = segments
    if not _TRUST_DOMAIN.fullmatch(domain):
        message = f"not a trust domain: {domain!r}"
        raise ValueError(message)
    for segment in (namespace, account):
        if not _SEGMENT.fullmatch(segment) or segment in {".", ".."}:
            message = f"not a path segment of a SPIFFE id: {segment!r}"
            raise ValueError(message)
    return SpiffeId(domain, namespace, account)
