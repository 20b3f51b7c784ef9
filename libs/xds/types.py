"""Named resources: what a generator returns and a session sends, encoded once.

A resource carries its wire bytes, its version (a hash of them) and the references of the
configuration it came from. Every response is a concatenation of these cached bytes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from msgspec import Struct

from libs.model.ids import Ref

CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type URL
EXTENSION = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
NAME_TABLE = "type.googleapis.com/istio.networking.nds.v1.NameTable"
BOOTSTRAP = "type.googleapis.com/seine.bootstrap.v1.Patches"
"""What is laid over the bootstrap of a proxy; only agents ask for it, before they start Envoy."""

PUSH_ORDER = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, EXTENSION, NAME_TABLE, BOOTSTRAP)
"""Make before break: a resource is sent before those that name it."""

WILDCARD_TYPES = frozenset({CLUSTER, LISTENER})
"""Types that a proxy gets whole when it names nothing."""


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def field(number: int, value: bytes | str) -> bytes:
    """Return one length-delimited protobuf field (a message, string or bytes)."""
    body = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(body)) + body


class NamedResource(Struct, frozen=True, gc=False):
    """One Envoy resource, ready to be sent. Make it with `resource`."""

    name: str
    type_url: str
    body: bytes  # the serialised message
    version: str  # hex digest of `body`
    sources: tuple[Ref, ...]
    any_bytes: bytes  # google.protobuf.Any
    delta_bytes: bytes  # envoy.service.discovery.v3.Resource

    @property
    def unknown(self) -> bool:
        """Whether only a client has it, and nobody here knows what it is. It is never sent."""
        return not self.delta_bytes


def resource(
    name: str, type_url: str, *, body: bytes, sources: Iterable[Ref] = ()
) -> NamedResource:
    """Return the resource whose deterministic serialisation is `body`.

    Sources are made unique and sorted.
    """
    version = blake2b(body, digest_size=8).hexdigest()
    any_bytes = field(1, type_url) + field(2, body)
    delta_bytes = field(3, name) + field(1, version) + field(2, any_bytes)
    unique = tuple(sorted({source for source in sources if source}))
    return NamedResource(name, type_url, body, version, unique, any_bytes, delta_bytes)


def unknown(name: str, version: str) -> NamedResource:
    """Return a resource that a client reports to have, in a version that is not known here."""
    return NamedResource(name, "", b"", version, (), b"", b"")


class Outcome(Struct, frozen=True, gc=False, array_like=True):
    """What became of one patch, `spec.configPatches[index]`, in a set of resources."""

    ref: Ref
    index: int
    hits: int  # how many things it was applied to
    error: str = ""  # what of it does not fit; empty if all does


class Conflict(NamedTuple):
    """A service that lost connections to one that comes before it, or to the proxy itself."""

    listener: str
    kept: Ref  # empty: the proxy needs the port
    lost: Ref
    reason: str


class ResourceSet(Struct, frozen=True, weakref=True):
    """All resources of one type for one class of proxies, by name, in the generator's order."""

    type_url: str
    resources: Mapping[str, NamedResource]
    version: str  # hex digest over names and versions, part by part
    outcomes: tuple[Outcome, ...] = ()  # of the patches that could act on it
    conflicts: tuple[Conflict, ...] = ()  # of listeners: who has none of what it asked for


class Part(Struct, frozen=True, weakref=True):
    """Resources that stand together in several sets; what is counted up of them is kept here."""

    resources: Mapping[str, NamedResource]
    digest: bytes  # over names and versions


def part(resources: Iterable[NamedResource]) -> Part:
    """Return the part of `resources`.

    Raises:
        ValueError: two resources have the same name.

    """
    found = tuple(resources)
    by_name = {item.name: item for item in found}
    if len(by_name) < len(found):
        raise _same_name(found)
    said = "".join(f"{item.name}\0{item.version}\0" for item in found)
    return Part(by_name, blake2b(said.encode(), digest_size=16).digest())


def joined(type_url: str, parts: Iterable[Part], outcomes: tuple[Outcome, ...] = ()) -> ResourceSet:
    """Return the set of all that is in `parts`, in their order.

    Raises:
        ValueError: two resources have the same name, which Envoy would refuse.

    """
    found = [one for one in parts if one.resources]
    by_name = dict(found[0].resources) if found else {}
    for further in found[1:]:
        by_name.update(further.resources)
    if len(by_name) < sum(len(one.resources) for one in found):
        raise _same_name([item for one in found for item in one.resources.values()])
    digest = blake2b(b"".join(one.digest for one in found), digest_size=8)
    return ResourceSet(type_url, by_name, digest.hexdigest(), outcomes)


def resource_set(
    type_url: str, resources: Iterable[NamedResource], outcomes: tuple[Outcome, ...] = ()
) -> ResourceSet:
    """Return the set of `resources`. Sets of equal parts have equal versions.

    Raises:
        ValueError: two resources have the same name, which Envoy would refuse.

    """
    return joined(type_url, [part(resources)], outcomes)


def _same_name(items: Sequence[NamedResource]) -> ValueError:
    counted = Counter(item.name for item in items)
    twice = next(name for name, count in counted.items() if count > 1)
    message = f"two resources of {items[0].type_url} are named {twice}"
    return ValueError(message)


class Snapshot(Struct, frozen=True, gc=False):
    """Everything that one class of proxies should have, by type URL."""

    sets: Mapping[str, ResourceSet]

    def of(self, type_url: str) -> ResourceSet:
        """Return the set of a type; empty when nothing of it is generated."""
        return self.sets.get(type_url) or resource_set(type_url, ())
