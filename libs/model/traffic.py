"""What is wanted of traffic: where requests go (Routing), and how a host is called (HostPolicy).

Host names are full names here; durations are milliseconds; percentages are 0 to 100.
`None` means not set, so that a nearer policy can be laid over a farther one field by field.
"""

from enum import StrEnum

from msgspec import Struct

from libs.model.ids import Ref

MESH_GATEWAY = "mesh"
"""The name in `gateways` that stands for every sidecar."""


class MatchKind(StrEnum):
    """How a text is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    REGEX = "regex"
    PRESENT = "present"
    SEGMENTS = "segments"  # a prefix of a path that ends where a segment does


class StringMatch(Struct, frozen=True, gc=False, omit_defaults=True):
    """A comparison of one text. Regular expressions are RE2 and match the whole text."""

    kind: MatchKind
    value: str = ""


class NamedMatch(Struct, frozen=True, gc=False, omit_defaults=True):
    """A comparison of the header or query parameter `name`."""

    name: str
    match: StringMatch


class HttpMatch(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Conditions on a request, all of which must hold."""

    name: str = ""
    uri: StringMatch | None = None
    ignore_uri_case: bool = False
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: tuple[NamedMatch, ...] = ()
    without_headers: tuple[NamedMatch, ...] = ()
    query_params: tuple[NamedMatch, ...] = ()
    port: int = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    stat_prefix: str = ""


class HeaderOperations(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Changes to the headers of a request and of its response."""

    request_set: dict[str, str] = {}
    request_add: dict[str, str] = {}
    request_remove: tuple[str, ...] = ()
    response_set: dict[str, str] = {}
    response_add: dict[str, str] = {}
    response_remove: tuple[str, ...] = ()


class Destination(Struct, frozen=True, gc=False, omit_defaults=True):
    """A subset of a host, at a port; 0 means the host's only port, or the listener's."""

    host: str
    subset: str = ""
    port: int = 0


class WeightedDestination(Struct, frozen=True, gc=False, omit_defaults=True):
    """A destination with its share among its siblings."""

    destination: Destination
    weight: int = 0
    headers: HeaderOperations | None = None


class Redirect(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """An answer that sends the client elsewhere."""

    uri: str = ""
    prefix: str = ""
    authority: str = ""
    port: int = 0
    derive_port: str = ""
    scheme: str = ""
    code: int = 301


class DirectResponse(Struct, frozen=True, gc=False, omit_defaults=True):
    """An answer that the proxy gives itself."""

    status: int
    body: bytes = b""


class RegexRewrite(Struct, frozen=True, gc=False):
    """A replacement in the path; `rewrite` may name groups by backslash and number."""

    match: str
    rewrite: str


class Rewrite(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Changes to the path and the authority before the request goes on."""

    uri: str = ""
    authority: str = ""
    uri_regex: RegexRewrite | None = None


class Retries(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How often a request is tried again; attempts 0 switches retries off."""

    attempts: int
    per_try_timeout: int | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: int | None = None


class Delay(Struct, frozen=True, gc=False, omit_defaults=True):
    """A delay in milliseconds for a share of requests."""

    fixed: int
    percentage: float = 0.0


class Abort(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """An error for a share of requests; exactly one of the statuses is set."""

    http_status: int = 0
    grpc_status: str = ""
    percentage: float = 100.0


class Fault(Struct, frozen=True, gc=False, omit_defaults=True):
    """Faults that the client's proxy makes."""

    delay: Delay | None = None
    abort: Abort | None = None


class Mirror(Struct, frozen=True, gc=False, omit_defaults=True):
    """A second destination that gets copies of a share of requests."""

    destination: Destination
    percentage: float = 100.0


class Cors(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Cross-origin rules of a route."""

    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: int | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: str = ""


class HttpRoute(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One routing rule: the first whose any match holds decides; no matches hold always."""

    name: str = ""
    matches: tuple[HttpMatch, ...] = ()
    destinations: tuple[WeightedDestination, ...] = ()
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    rewrite: Rewrite | None = None
    timeout: int | None = None  # milliseconds; None disables the timeout
    retries: Retries | None = None
    fault: Fault | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    headers: HeaderOperations | None = None
    refs: tuple[Ref, ...] = ()  # further sources, such as a delegate


class StreamMatch(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Conditions on a connection; `sni_hosts` only for TLS."""

    sni_hosts: tuple[str, ...] = ()
    destination_subnets: tuple[str, ...] = ()
    port: int = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


class StreamRoute(Struct, frozen=True, gc=False, omit_defaults=True):
    """One routing rule for connections (TCP, or TLS that is passed through)."""

    matches: tuple[StreamMatch, ...] = ()
    destinations: tuple[WeightedDestination, ...] = ()


class Routing(Struct, frozen=True, weakref=True, omit_defaults=True, kw_only=True):
    """Where requests to `hosts` go, for the proxies that `gateways` names."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = (MESH_GATEWAY,)
    export_to: tuple[str, ...] = ()
    others: tuple[str, ...] = ()  # of its hosts: for sidecars of its own namespace only
    http: tuple[HttpRoute, ...] = ()
    tls: tuple[StreamRoute, ...] = ()
    tcp: tuple[StreamRoute, ...] = ()


class Simple(StrEnum):
    """Load balancing without a key."""

    UNSET = ""
    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    PASSTHROUGH = "PASSTHROUGH"


class ConsistentHash(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Load balancing by a key of the request; exactly one key is set."""

    header: str = ""
    cookie: str = ""
    cookie_path: str = ""
    cookie_ttl: int | None = None
    cookie_attributes: dict[str, str] = {}
    source_ip: bool = False
    query_parameter: str = ""
    ring_size: int = 0
    maglev: bool = False
    maglev_table: int = 0


class LocalityWeights(Struct, frozen=True, gc=False):
    """Shares of the localities `to` for clients in the locality `source`."""

    source: str
    to: dict[str, int]


class LocalityFailover(Struct, frozen=True, gc=False):
    """The region that takes over when `source` has no healthy endpoints."""

    source: str
    to: str


class LocalityBalancing(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Balancing by locality, or by zone: then Envoy itself prefers the zone that it is in."""

    enabled: bool | None = None
    zones: bool = False
    min_cluster_size: int | None = None  # with `zones`: of fewer endpoints none is preferred
    distribute: tuple[LocalityWeights, ...] = ()
    failover: tuple[LocalityFailover, ...] = ()
    failover_priority: tuple[str, ...] = ()


class Warmup(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How a new endpoint comes to its full share."""

    duration: int
    minimum_percent: float | None = None
    aggression: float | None = None


class LoadBalancing(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How an endpoint is chosen."""

    simple: Simple = Simple.UNSET
    consistent_hash: ConsistentHash | None = None
    locality: LocalityBalancing | None = None
    warmup: Warmup | None = None


class Keepalive(Struct, frozen=True, gc=False, omit_defaults=True):
    """TCP keepalive; `time` and `interval` in milliseconds."""

    probes: int | None = None
    time: int | None = None
    interval: int | None = None


class H2Ping(Struct, frozen=True, gc=False, omit_defaults=True):
    """How often an HTTP/2 connection is asked whether it lives, and how long it may take."""

    interval: int | None = None
    timeout: int | None = None


class RetryBudget(Struct, frozen=True, gc=False, omit_defaults=True):
    """A limit of concurrent retries: a share of the concurrent requests, but `least` at least."""

    percent: float | None = None
    least: int = 0
    interval: int | None = None  # milliseconds of which requests count; None: those of this moment


class Tunnel(Struct, frozen=True, gc=False, omit_defaults=True):
    """An HTTP proxy's request (CONNECT, or POST) in which connections go on to `target`."""

    target: str  # `<host>:<port>`
    post: bool = False


class ConnectionPool(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Limits of a client's connections to one host."""

    max_connections: int | None = None
    connect_timeout: int | None = None
    keepalive: Keepalive | None = None
    max_connection_duration: int | None = None
    tcp_idle_timeout: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    http_idle_timeout: int | None = None
    h2_upgrade: str = ""  # "", DEFAULT, DO_NOT_UPGRADE, UPGRADE
    use_client_protocol: bool | None = None
    max_concurrent_streams: int | None = None
    h2_ping: H2Ping | None = None


class OutlierDetection(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """When an endpoint is taken out for failing."""

    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_local_failures: int | None = None
    split_local_errors: bool | None = None
    interval: int | None = None
    base_ejection_time: int | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int | None = None
    error_statuses: tuple[int, ...] = ()  # that count as failures in place of 5xx


class TlsMode(StrEnum):
    """How a client's proxy opens a connection."""

    DISABLE = "DISABLE"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"


class ClientTls(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """TLS as a client. File names are paths in the sidecar."""

    mode: TlsMode
    certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None


class TrafficPolicy(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How a host, subset or port is called."""

    load_balancing: LoadBalancing | None = None
    connection_pool: ConnectionPool | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTls | None = None
    ports: dict[int, "TrafficPolicy"] = {}  # an entry replaces the whole policy at its port
    proxy_protocol: str = ""
    tunnel: Tunnel | None = None
    retry_budget: RetryBudget | None = None


class Subset(Struct, frozen=True, gc=False, omit_defaults=True):
    """Those endpoints of a host that carry all of `labels`."""

    name: str
    labels: dict[str, str] = {}
    policy: TrafficPolicy | None = None


class HostPolicy(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """How clients call the hosts that `host` (maybe a wildcard) covers."""

    ref: Ref
    namespace: str
    name: str
    host: str
    created: int = 0
    export_to: tuple[str, ...] = ()
    selector: dict[str, str] | None = None
    policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
