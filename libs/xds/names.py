"""Names that users see in Envoy, each with its only formatter and parser."""

# Found here by everybody on Envoy's side, beside the other names.
from libs.proxy.cluster_name import ClusterName as ClusterName  # noqa: PLC0414 - exported
from libs.proxy.cluster_name import parse_cluster as parse_cluster  # noqa: PLC0414 - exported

PASSTHROUGH_CLUSTER = "PassthroughCluster"
BLACK_HOLE_CLUSTER = "BlackHoleCluster"
DYNAMIC_DNS_CLUSTER = "AllowAnyDynamicDNSCluster"
TRACER_CLUSTERS = ("zipkin", "datadog_agent")  # where proxies' own settings send spans
LOG_SERVICE_CLUSTER = "envoy_accesslog_service"  # of the bootstrap, if the agent is told of one
TALLY_CLUSTER = "tally-grpc"  # of the bootstrap: the agent that counts bytes of connections
INBOUND_PASSTHROUGH_CLUSTER = "InboundPassthroughCluster"
VIRTUAL_OUTBOUND = "virtualOutbound"
VIRTUAL_INBOUND = "virtualInbound"
HTTP_PROXY_ROUTE = "http_proxy"


def inbound_cluster(port: int) -> str:
    """Return the name of the cluster (and route) for the workload's own port."""
    return f"inbound|{port}||"


def virtual_host(host: str, port: int) -> str:
    """Return the name of the virtual host for one port of a host."""
    return f"{host}:{port}"


def route_config(host: str, port: int) -> str:
    """Return the name of the routes of one service alone, on a port whose protocol is sniffed."""
    return f"{host}:{port}"


def listener(address: str, port: int) -> str:
    """Return the name of the listener for one address and port."""
    return f"{address}_{port}"


def gateway_routes(port: int, bind: str) -> str:
    """Return the name of the routes of a gateway's clear text, at its own port."""
    return f"http.{port}.{bind}" if bind else f"http.{port}"


def gateway_tls_routes(port: int, port_name: str, *, gateway: str, bind: str) -> str:
    """Return the name of the routes of one server at which TLS ends, at its published port.

    `gateway` is `<namespace>/<name>`.
    """
    namespace, _, name = gateway.partition("/")
    found = f"https.{port}.{port_name}.{name}.{namespace}"
    return f"{found}.{bind}" if bind else found


def stat_prefix(name: str) -> str:
    """Return `name` as a prefix of statistics: the delimiter ends it, as dots may be part of it."""
    return f"{name};"
