"""VirtualService: where requests to a host go.

The first rule of a list whose match holds decides. Matches of a list are ORed, fields of a match
ANDed. None marks the fields for which absence means something else than zero.
"""

from enum import StrEnum

from msgspec import field

from libs.api.resource import IstioResource, Message
from libs.api.scalars import Duration, Int32, UInt32
from libs.api.selector import PortSelector


class Percent(Message, frozen=True):
    """A share, 0 to 100."""

    value: float = 0.0


class StringMatch(Message, frozen=True):
    """A comparison of a text; with none of them set, presence is enough."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None


class Destination(Message, frozen=True):
    """A subset of a host, at a port; the port may be left out where the host has one only."""

    host: str
    subset: str = ""
    port: PortSelector | None = None


class HeaderChanges(Message, frozen=True):
    """Changes to the headers of one direction."""

    set: dict[str, str] = {}
    add: dict[str, str] = {}
    remove: tuple[str, ...] = ()


class Headers(Message, frozen=True):
    """Changes to the headers of requests and responses."""

    request: HeaderChanges | None = None
    response: HeaderChanges | None = None


class HttpMatch(Message, frozen=True):
    """Conditions on a request."""

    name: str = ""
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] = {}
    without_headers: dict[str, StringMatch] = {}
    query_params: dict[str, StringMatch] = {}
    port: UInt32 = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()
    ignore_uri_case: bool = False
    stat_prefix: str = ""


class HttpDestination(Message, frozen=True):
    """A destination with its share among its siblings."""

    destination: Destination
    weight: Int32 = 0
    headers: Headers | None = None


class DerivePort(StrEnum):
    """Where the port of a redirect comes from."""

    FROM_PROTOCOL_DEFAULT = "FROM_PROTOCOL_DEFAULT"
    FROM_REQUEST_PORT = "FROM_REQUEST_PORT"


class Redirect(Message, frozen=True):
    """An answer that sends the client elsewhere; a code of 0 means 301."""

    uri: str = ""
    prefix_rewrite: str = ""
    authority: str = ""
    port: UInt32 | None = None
    derive_port: DerivePort | None = None
    scheme: str = ""
    redirect_code: UInt32 = 0


class Body(Message, frozen=True):
    """A body, as text or as base64."""

    string: str | None = None
    bytes_: bytes | None = field(default=None, name="bytes")


class DirectResponse(Message, frozen=True):
    """An answer that the proxy gives itself."""

    status: UInt32
    body: Body | None = None


class Delegate(Message, frozen=True):
    """Another VirtualService, without hosts, that refines this route."""

    name: str = ""
    namespace: str = ""


class RegexRewrite(Message, frozen=True):
    """A replacement in the path."""

    match: str = ""
    rewrite: str = ""


class Rewrite(Message, frozen=True):
    """Changes to the path and the authority before the request goes on."""

    uri: str = ""
    authority: str = ""
    uri_regex_rewrite: RegexRewrite | None = None


class Retry(Message, frozen=True):
    """How often a request is tried again; attempts 0 switches retries off."""

    attempts: Int32 = 0
    per_try_timeout: Duration | None = None
    retry_on: str = ""
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class Delay(Message, frozen=True):
    """A delay before the request goes on; one of the delays is set."""

    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: Percent | None = None
    percent: Int32 = 0


class Abort(Message, frozen=True):
    """An error in place of the request; one of the statuses is set."""

    http_status: Int32 | None = None
    grpc_status: str | None = None
    http2_error: str | None = None
    percentage: Percent | None = None


class Fault(Message, frozen=True):
    """Faults that the client's proxy makes."""

    delay: Delay | None = None
    abort: Abort | None = None


class Mirror(Message, frozen=True):
    """A destination that gets copies; without a percentage, of everything."""

    destination: Destination
    percentage: Percent | None = None


class UnmatchedPreflights(StrEnum):
    """What becomes of preflight requests from other origins."""

    UNSPECIFIED = "UNSPECIFIED"
    FORWARD = "FORWARD"
    IGNORE = "IGNORE"


class CorsPolicy(Message, frozen=True):
    """Cross-origin rules; `allow_origin` is the old form of exact origins."""

    allow_origin: tuple[str, ...] = ()
    allow_origins: tuple[StringMatch, ...] = ()
    allow_methods: tuple[str, ...] = ()
    allow_headers: tuple[str, ...] = ()
    expose_headers: tuple[str, ...] = ()
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: UnmatchedPreflights = UnmatchedPreflights.UNSPECIFIED


class HttpRoute(Message, frozen=True):
    """One rule for requests: route, redirect, direct response or delegate."""

    name: str = ""
    match: tuple[HttpMatch, ...] = ()
    route: tuple[HttpDestination, ...] = ()
    redirect: Redirect | None = None
    direct_response: DirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: Rewrite | None = None
    timeout: Duration | None = None
    retries: Retry | None = None
    fault: Fault | None = None
    mirror: Destination | None = None
    mirrors: tuple[Mirror, ...] = ()
    mirror_percent: UInt32 | None = None
    mirror_percentage: Percent | None = None
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class StreamDestination(Message, frozen=True):
    """A destination of connections with its share among its siblings."""

    destination: Destination
    weight: Int32 = 0


class TlsMatch(Message, frozen=True):
    """Conditions on a TLS connection that is passed through."""

    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    gateways: tuple[str, ...] = ()


class TlsRoute(Message, frozen=True):
    """One rule for TLS connections."""

    match: tuple[TlsMatch, ...]
    route: tuple[StreamDestination, ...] = ()


class TcpMatch(Message, frozen=True):
    """Conditions on a TCP connection."""

    destination_subnets: tuple[str, ...] = ()
    port: UInt32 = 0
    source_labels: dict[str, str] = {}
    source_namespace: str = ""
    source_subnet: str = ""
    gateways: tuple[str, ...] = ()


class TcpRoute(Message, frozen=True):
    """One rule for TCP connections."""

    match: tuple[TcpMatch, ...] = ()
    route: tuple[StreamDestination, ...] = ()


class VirtualServiceSpec(Message, frozen=True):
    """Fields of the kind; no hosts make it a delegate, no gateways mean `mesh`."""

    hosts: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    http: tuple[HttpRoute, ...] = ()
    tls: tuple[TlsRoute, ...] = ()
    tcp: tuple[TcpRoute, ...] = ()
    export_to: tuple[str, ...] = ()


class VirtualService(IstioResource, frozen=True):
    """The kind."""

    spec: VirtualServiceSpec = VirtualServiceSpec()
