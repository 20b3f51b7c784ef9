"""Credentials: the names under which proxies ask for users' certificates, and what they are sent.

The only parser of these names. A proxy is given Secrets of its own, proved namespace; every other
name is one that does not exist, whether there is such a Secret or not. What registries of images
are asked with is for the agents of those proxies that have an extension of the Secret's namespace
which names it, and for nobody else, whatever their namespace.
"""

import re
from collections.abc import Iterable

from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from msgspec import Struct

from libs.model.ids import Ref, parse_ref, ref
from libs.xds.types import SECRET, NamedResource, ResourceSet, field, resource, resource_set

_SCHEME = "kubernetes://"
_REGISTRY = "image-pull://"
_EXTENSIONS = frozenset({"WasmPlugin", "TrafficExtension"})
_ROOTS = "-cacert"
_LABEL = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_NAMESPACE = re.compile(_LABEL)
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_MAX_NAME = 253


class CredentialName(Struct, frozen=True, gc=False):
    """What a name asks for: certificate and key of a Secret, or one of what is noted below."""

    namespace: str
    name: str  # of the Secret, without the suffix that asks for roots
    roots: bool  # whom to believe
    registry: bool = False  # who one is to registries of images

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the Secrets that may hold it; the first that does counts."""
        return (f"{self.name}{_ROOTS}", self.name) if self.roots else (self.name,)


class Material(Struct, frozen=True, gc=False):
    """What one Secret holds, in PEM or JSON; all empty if there is no such Secret."""

    certificate: bytes = b""
    private_key: bytes = b""
    roots: bytes = b""
    revocations: bytes = b""
    ocsp_staple: bytes = b""
    registry: bytes = b""

    def __repr__(self) -> str:
        return "Material(…)"


def parse(name: str, namespace: str) -> CredentialName | None:
    """Return what a proxy of `namespace` may ask for under `name`, or None if that is nothing.

    What is for a registry may be asked for; whether it is given is said by `names_registry`.
    """
    if name.startswith(_REGISTRY):
        return _parse_registry(name.removeprefix(_REGISTRY))
    if not name.startswith(_SCHEME):
        return None
    owner, slash, secret = name.removeprefix(_SCHEME).rpartition("/")
    if (owner if slash else namespace) != namespace or not _NAMESPACE.fullmatch(namespace):
        return None
    if len(secret) > _MAX_NAME or not _NAME.fullmatch(secret):
        return None
    bare = secret.removesuffix(_ROOTS)
    return CredentialName(namespace, bare, bare != secret) if bare else None


def registry_name(secret: str) -> str:
    """Return the name under which an agent asks for the Secret `<namespace>/<name>`."""
    return f"{_REGISTRY}{secret}"


def names_registry(name: str, wanted: CredentialName, extensions: Iterable[NamedResource]) -> bool:
    """Tell whether one of `extensions`, of the Secret's own namespace and unpatched, names it."""
    needle = field(2, name)  # the value of a variable
    return any(
        needle in one.body and all(_is_extension(it, wanted.namespace) for it in one.sources)
        for one in extensions
        if one.sources
    )


def _is_extension(source: Ref, namespace: str) -> bool:
    kind, owner, _ = parse_ref(source)
    return kind in _EXTENSIONS and owner == namespace


def _parse_registry(path: str) -> CredentialName | None:
    owner, slash, secret = path.partition("/")
    if not slash or not _NAMESPACE.fullmatch(owner):
        return None
    if len(secret) > _MAX_NAME or not _NAME.fullmatch(secret):
        return None
    return CredentialName(owner, secret, roots=False, registry=True)


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


def registry(name: str, wanted: CredentialName, found: Material) -> NamedResource | None:
    """Return who one is to registries, in JSON, or None if the Secret does not say it."""
    if not found.registry:
        return None
    secret = Secret(name=name)
    secret.generic_secret.secret.inline_bytes = found.registry
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
