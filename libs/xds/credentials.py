"""Credentials: the names under which proxies ask for users' certificates, and what they are sent.

The only parser of these names. A proxy is given Secrets of its own, proved namespace; every other
name is one that does not exist, whether there is such a Secret or not.
"""

import re

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from msgspec import Struct

from libs.model.ids import ref
from libs.xds.types import SECRET, NamedResource, ResourceSet, resource, resource_set

_SCHEME = "kubernetes://"
_ROOTS = "-cacert"
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAME = 253


class CredentialName(Struct, frozen=True, gc=False):
    """What a name asks for: certificate and key of a Secret, or with `roots` whom to believe."""

    namespace: str
    name: str  # of the Secret, without the suffix that asks for roots
    roots: bool

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the Secrets that may hold it; the first that does counts."""
        return (f"{self.name}{_ROOTS}", self.name) if self.roots else (self.name,)


class Material(Struct, frozen=True, gc=False):
    """What one Secret holds, in PEM; all empty if there is no such Secret."""

    certificate: bytes = b""
    private_key: bytes = b""
    roots: bytes = b""
    revocations: bytes = b""
    ocsp_staple: bytes = b""

    def __repr__(self) -> str:
        return "Material(…)"


def parse(name: str, namespace: str) -> CredentialName | None:
    """Return what a proxy of `namespace` may ask for under `name`, or None if that is nothing."""
    if not name.startswith(_SCHEME):
        return None
    owner, slash, secret = name.removeprefix(_SCHEME).rpartition("/")
    if (owner if slash else namespace) != namespace or not _NAMESPACE.fullmatch(namespace):
        return None
    if len(secret) > _MAX_NAME or not _NAME.fullmatch(secret):
        return None
    bare = secret.removesuffix(_ROOTS)
    return CredentialName(namespace, bare, bare != secret) if bare else None


def certificate(name: str, wanted: CredentialName, found: Material) -> NamedResource | None:
    """Return a certificate with its key, or None if the Secret does not hold both."""
    if not (found.certificate and found.private_key):
        return None
    secret = Secret(name=name)
    secret.tls_certificate.certificate_chain.inline_bytes = found.certificate
    secret.tls_certificate.private_key.inline_bytes = found.private_key
    if found.ocsp_staple:
        secret.tls_certificate.ocsp_staple.inline_bytes = found.ocsp_staple
    return _resource(name, wanted.namespace, wanted.name, secret)


def roots(name: str, wanted: CredentialName, found: Material) -> NamedResource | None:
    """Return roots to believe, or None if the Secret holds none. Never a key."""
    if not found.roots:
        return None
    secret = Secret(name=name)
    secret.validation_context.trusted_ca.inline_bytes = found.roots
    if found.revocations:
        secret.validation_context.crl.inline_bytes = found.revocations
    return _resource(name, wanted.namespace, wanted.name, secret)


def credential_set(namespace: str, resources: list[NamedResource]) -> ResourceSet:
    """Return the credentials of one proxy of `namespace`.

    Its version names the namespace: whatever is kept by version is then kept by owner too.
    """
    made = resource_set(SECRET, sorted(resources, key=lambda item: item.name))
    return ResourceSet(SECRET, made.resources, f"{namespace}/{made.version}")


def _resource(name: str, namespace: str, secret: str, body: Secret) -> NamedResource:  # noqa: PLR0917
    source = ref("Secret", namespace, secret)
    return resource(name, SECRET, body=body.SerializeToString(deterministic=True), sources=[source])
