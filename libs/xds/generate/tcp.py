"""The TCP proxy of both directions: bytes from a connection to one cluster, or shared by weight."""

from collections.abc import Mapping

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy

from libs.proxy.scope import InboundScope
from libs.xds.generate import telemetry, typed
from libs.xds.generate.connection_manager import Direction

NAME = "envoy.filters.network.tcp_proxy"


def tcp_proxy(
    *,
    own: InboundScope,
    direction: Direction,
    stat_prefix: str,
    cluster: str = "",
    weighted: Mapping[str, int] | None = None,
    idle_timeout: int | None = None,
) -> Filter:
    """Return the network filter that forwards bytes.

    `own` is the workload whose proxy this is: telemetry names it. Exactly one of `cluster` and
    `weighted` (weight by cluster name) is set; `idle_timeout` is in milliseconds.
    """
    proxy = TcpProxy(stat_prefix=stat_prefix, access_log=telemetry.tcp_access_logs(own, direction))
    if weighted is not None:
        for name, weight in weighted.items():
            proxy.weighted_clusters.clusters.add(name=name, weight=weight)
    else:
        proxy.cluster = cluster
    if idle_timeout is not None:
        proxy.idle_timeout.CopyFrom(typed.milliseconds(idle_timeout))
    return typed.network_filter(NAME, proxy)
