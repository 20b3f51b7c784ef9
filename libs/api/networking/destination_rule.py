"""DestinationRule: how clients call a host: subsets, load balancing, connections, TLS.

Numbers of protobuf that have no presence are 0 when absent; None marks the fields for which
absence means something else than zero.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta, field

from libs.api.resource import IstioResource, Message
from libs.api.scalars import Duration, Int32, UInt32, UInt64
from libs.api.selector import PortSelector, WorkloadSelector


class SimpleBalancer(StrEnum):
    """Load balancing without a key; LEAST_CONN is the old name of LEAST_REQUEST."""

    UNSPECIFIED = "UNSPECIFIED"
    LEAST_CONN = "LEAST_CONN"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"
    ROUND_ROBIN = "ROUND_ROBIN"
    LEAST_REQUEST = "LEAST_REQUEST"


class CookieAttribute(Message, frozen=True):
    """An attribute of a cookie that the proxy sets."""

    name: str
    value: str = ""


class HttpCookie(Message, frozen=True):
    """The cookie whose value is the key; `ttl` 0 makes a session cookie, None never sets one."""

    name: str
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[CookieAttribute, ...] = ()


class RingHash(Message, frozen=True):
    """The ring of hash keys."""

    minimum_ring_size: UInt64 = 0


class Maglev(Message, frozen=True):
    """The table of hash keys; its size is a prime."""

    table_size: UInt64 = 0


class ConsistentHash(Message, frozen=True):
    """Load balancing by a key; exactly one key is set, and at most one algorithm."""

    http_header_name: str | None = None
    http_cookie: HttpCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: UInt64 = 0


class Distribute(Message, frozen=True):
    """Shares in percent of the localities `to` for clients in the locality `from_`."""

    from_: str = field(default="", name="from")
    to: dict[str, UInt32] = {}


class Failover(Message, frozen=True):
    """The region that takes over when `from_` has no healthy endpoints."""

    from_: str = field(default="", name="from")
    to: str = ""


class LocalityBalancing(Message, frozen=True):
    """Balancing by locality."""

    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


class ZoneAwareBalancing(Message, frozen=True):
    """Balancing by zone, in place of balancing by locality."""

    enabled: bool | None = None
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    min_cluster_size: Annotated[int, Meta(ge=1, le=2**64 - 1)] | None = None


class Warmup(Message, frozen=True):
    """How a new endpoint comes to its full share."""

    duration: Duration
    minimum_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    aggression: Annotated[float, Meta(ge=0)] | None = None


class LoadBalancer(Message, frozen=True):
    """How an endpoint is chosen; `simple` and `consistent_hash` exclude each other."""

    simple: SimpleBalancer | None = None
    consistent_hash: ConsistentHash | None = None
    locality_lb_setting: LocalityBalancing | None = None
    zone_aware_lb_setting: ZoneAwareBalancing | None = None
    warmup: Warmup | None = None
    warmup_duration_secs: Duration | None = None


class TcpKeepalive(Message, frozen=True):
    """TCP keepalive; None and 0 leave it to the operating system."""

    probes: UInt32 = 0
    time: Duration | None = None
    interval: Duration | None = None


class TcpPool(Message, frozen=True):
    """Limits of connections, whatever they carry."""

    max_connections: Int32 = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class H2UpgradePolicy(StrEnum):
    """Whether HTTP/1 of the application becomes HTTP/2 between the proxies."""

    DEFAULT = "DEFAULT"
    DO_NOT_UPGRADE = "DO_NOT_UPGRADE"
    UPGRADE = "UPGRADE"


class ConnectionKeepalive(Message, frozen=True):
    """HTTP/2 pings."""

    interval: Duration | None = None
    timeout: Duration | None = None


class HttpPool(Message, frozen=True):
    """Limits of HTTP requests and connections."""

    http1_max_pending_requests: Int32 = 0
    http2_max_requests: Int32 = 0
    max_requests_per_connection: Int32 = 0
    max_retries: Int32 = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: H2UpgradePolicy = H2UpgradePolicy.DEFAULT
    use_client_protocol: bool = False
    max_concurrent_streams: Int32 = 0
    http2_keep_alive: ConnectionKeepalive | None = None


class ConnectionPool(Message, frozen=True):
    """Limits of the connections to one host."""

    tcp: TcpPool | None = None
    http: HttpPool | None = None


HttpErrorCode = Annotated[int, Meta(ge=100, le=599)]


class OutlierDetection(Message, frozen=True):
    """When an endpoint is taken out for failing; 0 switches a check off, None is its default."""

    consecutive_errors: Int32 = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: UInt32 | None = None
    consecutive_gateway_errors: UInt32 | None = None
    consecutive_5xx_errors: UInt32 | None = field(default=None, name="consecutive5xxErrors")
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: Int32 = 0
    min_health_percent: Int32 = 0
    outlier_detection_http_error_codes: tuple[HttpErrorCode, ...] = ()


class TlsMode(StrEnum):
    """How a client's proxy opens a connection."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientTls(Message, frozen=True):
    """TLS as a client; certificates are paths in the proxy's file system."""

    mode: TlsMode = TlsMode.DISABLE
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None


class Tunnel(Message, frozen=True):
    """An HTTP proxy through which TCP goes."""

    target_host: str
    target_port: UInt32
    protocol: str = ""


class ProxyProtocolVersion(StrEnum):
    """The version of the PROXY protocol."""

    V1 = "V1"
    V2 = "V2"


class ProxyProtocol(Message, frozen=True):
    """The PROXY protocol's header before each connection."""

    version: ProxyProtocolVersion = ProxyProtocolVersion.V1


class RetryBudget(Message, frozen=True):
    """A limit of concurrent retries as a share of concurrent requests."""

    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    min_retry_concurrency: UInt32 = 0
    budget_interval: Duration | None = None


class PortTrafficPolicy(Message, frozen=True):
    """The policy of one port, in place of the host's whole policy."""

    port: PortSelector | None = None
    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTls | None = None


class TrafficPolicy(Message, frozen=True):
    """How a host or subset is called."""

    load_balancer: LoadBalancer | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTls | None = None
    port_level_settings: Annotated[tuple[PortTrafficPolicy, ...], Meta(max_length=4096)] = ()
    tunnel: Tunnel | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Message, frozen=True):
    """The endpoints of the host that carry all of `labels`."""

    name: str
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRuleSpec(Message, frozen=True):
    """Fields of the kind."""

    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: WorkloadSelector | None = None


class DestinationRule(IstioResource, frozen=True):
    """The kind."""

    spec: DestinationRuleSpec
