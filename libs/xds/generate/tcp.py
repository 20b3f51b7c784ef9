"""The TCP proxy of both directions: bytes from a connection to one cluster, or shared by weight."""

from collections.abc import Mapping

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.filters.network.mongo_proxy.v3.mongo_proxy_pb2 import MongoProxy
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import (
    TcpProxy,
    UpstreamConnectMode,
)

from libs.model.service import Service
from libs.model.traffic import Tunnel
from libs.proxy.scope import InboundScope
from libs.xds.generate import telemetry, typed
from libs.xds.generate.metrics import Direction

NAME = "envoy.filters.network.tcp_proxy"

_EARLY_BYTES = 64 * 1024  # held until there is somewhere to send them; then the caller has to wait


def tcp_proxy(  # noqa: PLR0913 - all that a connection can be given
    *,
    own: InboundScope,
    direction: Direction,
    stat_prefix: str,
    cluster: str = "",
    weighted: Mapping[str, int] | None = None,
    idle_timeout: int | None = None,
    max_duration: int | None = None,
    hash_by_source: bool = False,
    service: Service | None = None,
    tunnel: Tunnel | None = None,
) -> Filter:
    """Return the network filter that forwards bytes.

    `own` is the workload whose proxy this is: telemetry names it, and it has an idle timeout for
    connections of which nobody else says it. Exactly one of `cluster` and
    `weighted` (weight by cluster name) is set; times are in milliseconds. `hash_by_source` keeps a
    client at one endpoint of a cluster that balances by a hash. `service` is the one that an
    inbound port stands for. With `tunnel` the bytes go on inside a request to an HTTP proxy.
    """
    proxy = TcpProxy(
        stat_prefix=stat_prefix,
        access_log=telemetry.tcp_access_logs(own, direction, service),
        access_log_options=_reports(telemetry.reporting_interval(own, direction)),
    )
    if direction == "inbound":
        # Not before the caller has proved who it is: the application would see a connection that
        # comes to nothing, and telemetry a caller without a name. In plaintext this is at once.
        proxy.upstream_connect_mode = UpstreamConnectMode.ON_DOWNSTREAM_TLS_HANDSHAKE
        proxy.max_early_data_bytes.value = _EARLY_BYTES
    if weighted is not None:
        for name, weight in weighted.items():
            proxy.weighted_clusters.clusters.add(name=name, weight=weight)
    else:
        proxy.cluster = cluster
    idle = own.idle_timeout if idle_timeout is None else idle_timeout
    if idle is not None:
        proxy.idle_timeout.CopyFrom(typed.milliseconds(idle))
    if max_duration is not None:
        proxy.max_downstream_connection_duration.CopyFrom(typed.milliseconds(max_duration))
    if tunnel is not None:
        proxy.tunneling_config.hostname = tunnel.target
        proxy.tunneling_config.use_post = tunnel.post
    if hash_by_source:
        proxy.hash_policy.add().source_ip.SetInParent()
    return typed.network_filter(NAME, proxy)


def _reports(interval: int) -> TcpProxy.TcpAccessLogOptions:
    """Return when loggers hear of a connection before it ends; see `reporting_interval`."""
    found = TcpProxy.TcpAccessLogOptions(flush_access_log_on_connected=True)
    if interval:
        found.access_log_flush_interval.CopyFrom(typed.milliseconds(interval))
    return found


def mongo(stat_prefix: str) -> Filter:
    """Return the network filter that watches MongoDB's own protocol go by."""
    return typed.network_filter(
        "envoy.filters.network.mongo_proxy", MongoProxy(stat_prefix=stat_prefix)
    )
