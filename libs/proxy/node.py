"""Who is asking: one proxy, read from its xDS node and proved by its credential.

The identity comes from the verified credential and decides the namespace. What the node claims of
namespace and service account must equal it. Labels come from the mesh's own workload whenever it is
known; a proxy's word about itself only fills in before its pod was seen. Its network is the one it
was told of when it was injected, as with Istio: only its own way to others hangs on that. A machine
outside the cluster is the WorkloadEntry that it is registered as, or the one that has its name.
"""

from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address

from msgspec import Struct

from libs.model import durations
from libs.model.endpoint import Locality
from libs.model.ids import SpiffeId, WorkloadKey, entry_key, workload_key
from libs.model.mesh import Mesh
from libs.model.proxy_settings import ProxySettings
from libs.model.workload import Workload
from libs.proxy import machines, settings
from libs.proxy.errors import NodeError

COUNTS_BYTES = "SEINE_COUNTS_BYTES"
"""Metadata of a node whose agent counts the bytes of connections that last."""


class ProxyType(StrEnum):
    """The first part of a node id."""

    SIDECAR = "sidecar"
    ROUTER = "router"
    PROXYLESS = "proxyless"  # a sidecar by its id: a gRPC program that needs no proxy


class Interception(StrEnum):
    """How connections reach the proxy. NONE: explicit listeners on addresses of their own."""

    REDIRECT = "REDIRECT"
    TPROXY = "TPROXY"
    NONE = "NONE"


class Families(StrEnum):
    """The families of addresses that a proxy has, and so can be reached at and reach."""

    IPV4 = "4"
    IPV6 = "6"
    DUAL = "46"


class Proxy(Struct, frozen=True, gc=False, kw_only=True):
    """One connected proxy."""

    id: str  # the node id: `sidecar~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`
    type: ProxyType
    name: str
    namespace: str
    identity: SpiffeId
    workload: WorkloadKey
    addresses: tuple[str, ...]
    dns_domain: str  # `<namespace>.svc.<cluster domain>`
    labels: dict[str, str] = {}
    locality: Locality = Locality()
    network: str = ""
    cluster_id: str = ""
    version: str = ""
    metadata: dict[str, str] = {}  # all that the node says as text
    interception: Interception = Interception.REDIRECT
    http_proxy_port: int = 0
    unprivileged: bool = False  # cannot open sockets on ports below 1024
    dns_capture: bool = False  # its agent answers the application's DNS queries
    external_secrets: bool = False  # somebody beside it serves users' certificates
    counts_bytes: bool = False  # its agent counts those of connections that last
    http10: bool = False  # takes requests of HTTP/1.0
    idle_timeout: int | None = None  # milliseconds, of connections of which no policy says it
    settings: ProxySettings | None = None  # None: those that the mesh has for all
    group: str = ""  # the WorkloadGroup by which it registers
    # Only with Interception.NONE: where explicit listeners bind, where the application listens.
    outbound_address: str = "127.0.0.1"
    application_address: str = "127.0.0.1"

    @property
    def families(self) -> Families:
        """The families of the proxy's addresses; IPv4 while none are known."""
        six = any(":" in address for address in self.addresses)
        four = any("." in address for address in self.addresses)
        if six and four:
            return Families.DUAL
        return Families.IPV6 if six else Families.IPV4


def parse(node_id: str, metadata: Mapping[str, object], identity: SpiffeId, mesh: Mesh) -> Proxy:  # noqa: PLR0917 - the card of this room
    """Return the proxy that `node_id` and `metadata` describe and `identity` proves.

    Raises:
        NodeError: the id is malformed, or something claimed differs from what is proved.

    """
    kind, address, name, namespace, domain = _split(node_id)
    _agree("namespace", namespace, identity.namespace)
    _agree("namespace", _text(metadata, "NAMESPACE"), identity.namespace)
    _agree("service account", _text(metadata, "SERVICE_ACCOUNT"), identity.service_account)
    group = machines.group_of(metadata, identity, mesh)
    key = _workload_key(mesh, namespace, name)
    if group:
        claimed = _claimed(address, metadata)[0]
        entry = machines.entry_name(group, claimed, _text(metadata, "NETWORK"))
        key = entry_key(namespace, entry)
    workload = mesh.workloads.get(key)
    if workload is not None:
        _agree(
            "service account of the workload", workload.service_account, identity.service_account
        )
    return Proxy(
        id=node_id,
        type=_proxyless(kind, metadata),
        name=name,
        namespace=namespace,
        identity=identity,
        workload=key,
        addresses=_addresses(address, metadata, workload),
        dns_domain=domain or f"{namespace}.svc.{mesh.settings.cluster_domain}",
        labels=workload.labels if workload else _labels(metadata),
        locality=workload.locality if workload else _locality(_labels(metadata)),
        network=_text(metadata, "NETWORK") or (workload.network if workload else ""),
        cluster_id=_text(metadata, "CLUSTER_ID"),
        version=_text(metadata, "ISTIO_VERSION"),
        metadata={key: value for key, value in metadata.items() if isinstance(value, str)},
        interception=_interception(metadata),
        http_proxy_port=_port(metadata, "HTTP_PROXY_PORT"),
        unprivileged=_text(metadata, "UNPRIVILEGED_POD") == "true",
        dns_capture=_text(metadata, "DNS_CAPTURE") == "true",
        external_secrets=_text(metadata, "credential") == "true",
        counts_bytes=_text(metadata, COUNTS_BYTES) == "true",
        http10=_text(metadata, "HTTP10") == "1",
        idle_timeout=_duration(metadata, "IDLE_TIMEOUT"),
        settings=_settings(metadata),
        group=group,
        outbound_address=_ip(metadata, "SEINE_OUTBOUND_ADDRESS", "127.0.0.1"),
        application_address=_ip(metadata, "SEINE_APPLICATION_ADDRESS", "127.0.0.1"),
    )


def _workload_key(mesh: Mesh, namespace: str, name: str) -> WorkloadKey:
    key, entry = workload_key(namespace, name), entry_key(namespace, name)
    return entry if key not in mesh.workloads and entry in mesh.workloads else key


def _settings(metadata: Mapping[str, object]) -> ProxySettings | None:
    config = metadata.get("PROXY_CONFIG")
    return settings.read(config) if isinstance(config, Mapping) and config else None


def _split(node_id: str) -> tuple[ProxyType, str, str, str, str]:
    parts = node_id.split("~")
    if len(parts) != 4:
        message = (
            f"a node id is <type>~<address>~<name>.<namespace>~<domain>, not {node_id[:256]!r}"
        )
        raise NodeError(message)
    kind, address, instance, domain = parts
    name, _, namespace = instance.rpartition(".")
    if kind not in {"sidecar", "router"}:
        message = f"a proxy is a sidecar or a router, not a {kind[:64]!r}"
        raise NodeError(message)
    if not name or not namespace:
        message = f"a node id names its pod as <name>.<namespace>, not {instance[:256]!r}"
        raise NodeError(message)
    return ProxyType(kind), address, name, namespace, domain


def _proxyless(kind: ProxyType, metadata: Mapping[str, object]) -> ProxyType:
    grpc = kind is ProxyType.SIDECAR and _text(metadata, "GENERATOR") == "grpc"
    return ProxyType.PROXYLESS if grpc else kind


def _agree(what: str, claimed: str, proved: str) -> None:
    if claimed and claimed != proved:
        message = f"the node claims {what} {claimed[:253]!r}, but its credential proves {proved!r}"
        raise NodeError(message)


def _text(metadata: Mapping[str, object], key: str) -> str:
    value = metadata.get(key, "")
    return value if isinstance(value, str) else ""


def _labels(metadata: Mapping[str, object]) -> dict[str, str]:
    labels = metadata.get("LABELS")
    if not isinstance(labels, Mapping):
        return {}
    return {str(key): value for key, value in labels.items() if isinstance(value, str)}


def _locality(labels: Mapping[str, str]) -> Locality:
    # A label cannot hold slashes, so Istio writes dots in it.
    parts = [*labels.get("istio-locality", "").replace(".", "/").split("/", 2), "", ""]
    return Locality(*parts[:3])


def _addresses(
    address: str, metadata: Mapping[str, object], workload: Workload | None
) -> tuple[str, ...]:
    if workload is not None and workload.addresses:
        return workload.addresses
    return _claimed(address, metadata)


def _claimed(address: str, metadata: Mapping[str, object]) -> tuple[str, ...]:
    claimed = [part for part in _text(metadata, "INSTANCE_IPS").split(",") if part] or [address]
    return tuple(_checked_ip(part.strip()) for part in claimed)


def _checked_ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        message = f"not an IP address: {text[:64]!r}"
        raise NodeError(message) from error


def _ip(metadata: Mapping[str, object], key: str, default: str) -> str:
    return _checked_ip(_text(metadata, key) or default)


def _duration(metadata: Mapping[str, object], name: str) -> int | None:
    """Return milliseconds; what is no duration, or a negative one, is as if nothing were said."""
    try:
        found = durations.parse(_text(metadata, name))
    except ValueError:
        return None
    return int(found) if found >= 0 else None


def _port(metadata: Mapping[str, object], key: str) -> int:
    text = _text(metadata, key)
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) <= 65535:
        message = f"{key} is not a port: {text[:16]!r}"
        raise NodeError(message)
    return int(text)


def _interception(metadata: Mapping[str, object]) -> Interception:
    mode = _text(metadata, "INTERCEPTION_MODE") or Interception.REDIRECT
    if mode not in set(Interception):
        message = f"INTERCEPTION_MODE is REDIRECT, TPROXY or NONE, not {mode[:64]!r}"
        raise NodeError(message)
    return Interception(mode)
