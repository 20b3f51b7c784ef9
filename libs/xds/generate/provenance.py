"""Provenance: the configuration that something in Envoy came from, where Envoy's users look for it.

Filter metadata `istio`, key `config`, holds the path of the resource in the API server, as Istio
writes it. Everything that a person may point at in a configuration dump carries one.
"""

from functools import lru_cache

from envoy.config.core.v3.base_pb2 import Metadata

from libs.model.ids import Ref, parse_ref

NAMESPACE = "istio"
CONFIG = "config"

_NETWORKING = "networking.istio.io/v1"
_SECURITY = "security.istio.io/v1"
_GROUPS = {
    "VirtualService": _NETWORKING,
    "DestinationRule": _NETWORKING,
    "Gateway": _NETWORKING,
    "Ingress": "networking.k8s.io/v1",
    "ServiceEntry": _NETWORKING,
    "Sidecar": _NETWORKING,
    "WorkloadEntry": _NETWORKING,
    "AuthorizationPolicy": _SECURITY,
    "PeerAuthentication": _SECURITY,
    "RequestAuthentication": _SECURITY,
}


@lru_cache(maxsize=4096)
def path(reference: Ref) -> str:
    """Return the path under which Istio names a resource.

    Kinds of Kubernetes' core group have no group in theirs.
    """
    kind, namespace, name = parse_ref(reference)
    group = _GROUPS.get(kind)
    root = f"/apis/{group}" if group else "/api/v1"
    return f"{root}/namespaces/{namespace}/{_kebab(kind)}/{name}"


def metadata(reference: Ref) -> Metadata:
    """Return metadata that says what something came from."""
    found = Metadata()
    found.filter_metadata[NAMESPACE].fields[CONFIG].string_value = path(reference)
    return found


def _kebab(kind: str) -> str:
    words = (f"-{letter.lower()}" if letter.isupper() else letter for letter in kind)
    return "".join(words).removeprefix("-")
