"""The HTTP connection manager of both directions: everything in it that is not a route.

Callers bring the HTTP filters of their feature files; the router is added here and
`filters.order` decides the order. Which listener or chain it stands in is not decided here.
"""

from collections.abc import Iterable

from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.request_id.uuid.v3.uuid_pb2 import UuidRequestIdConfig
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue

from libs.model.proxy_settings import ProxySettings
from libs.model.service import Protocol
from libs.model.settings import MeshSettings
from libs.proxy.node import ProxyType
from libs.proxy.scope import InboundPort, InboundScope
from libs.xds.generate import extensions, metrics, proxy_headers, telemetry, tracing, typed
from libs.xds.generate.filters import order, peer_metadata
from libs.xds.generate.metrics import Direction

NAME = "envoy.filters.network.http_connection_manager"
SERVER_NAME = "istio-envoy"

_NEVER = Duration()  # a stream may be silent for as long as its route allows


def http_connection_manager(  # noqa: PLR0913 - all that a chain decides
    *,
    own: InboundScope,
    direction: Direction,
    stat_prefix: str,
    routes: RouteConfiguration | str,
    filters: Iterable[hcm.HttpFilter] = (),
    port: InboundPort | None = None,
    service_port: int = 0,
    http1: bool = False,
) -> Filter:
    """Return the network filter that speaks HTTP.

    `own` is the workload whose proxy this is, in either direction: telemetry names it, and its
    settings are the mesh's. `routes` are either inline or the name under which RDS serves them.
    `port` is the inbound port that is served, `service_port` what an outbound listener stands for,
    if that is one port; extensions choose by them. With `http1` no gRPC passes. Clients of a router
    are strangers to the mesh.
    """
    number = port.port if port else service_port
    added = extensions.http_filters(own, direction, number)
    edge = own.type is ProxyType.ROUTER
    manager = hcm.HttpConnectionManager(
        codec_type=hcm.HttpConnectionManager.CodecType.AUTO,
        stat_prefix=stat_prefix,
        server_name=SERVER_NAME if direction == "inbound" or edge else "",  # Envoy's own: `envoy`
        use_remote_address=BoolValue(value=False),
        stream_idle_timeout=_NEVER,
        access_log=telemetry.http_access_logs(own, direction, port, http1=http1),
        http_filters=order.http(
            [
                *_telling(own, direction),
                *telemetry.http_filters(own, direction, port, http1=http1),
                *filters,
                _router(own.settings),
            ],
            added,
        ),
        upgrade_configs=[hcm.HttpConnectionManager.UpgradeConfig(upgrade_type="websocket")],
        proxy_100_continue=True,
    )
    traces = telemetry.side(own, direction).tracing
    manager.request_id_extension.CopyFrom(_request_id(traces is None or traces.by_request_id))
    if (traced := tracing.tracing(own, traces)) is not None:
        manager.tracing.CopyFrom(traced)
    _normalise_paths(manager, own.settings)
    proxy = own.settings.proxy
    proxy_headers.add_headers(manager, proxy.headers, inbound=direction == "inbound")
    _serve_as_told(manager, own)
    proxy_headers.limit(manager, proxy_headers.connections(proxy.connections, router=edge))
    if port and (port.protocol.is_http2 or port.protocol is Protocol.GRPC_WEB):
        manager.http2_protocol_options.SetInParent()
    if edge:
        _face_strangers(manager, proxy)
    if isinstance(routes, str):
        manager.rds.CopyFrom(_route_discovery(routes))
    else:
        manager.route_config.CopyFrom(routes)
    return typed.network_filter(NAME, manager)


def _telling(own: InboundScope, direction: Direction) -> Iterable[hcm.HttpFilter]:
    """Return the filters by which proxies tell each other what metrics say of them."""
    if direction == "inbound":
        return peer_metadata.SERVER_FILTERS
    return [peer_metadata.writing(metrics.told(own))]


def _router(settings: MeshSettings) -> hcm.HttpFilter:
    router = Router(suppress_envoy_headers=not settings.proxy.headers.debug)
    return typed.http_filter("envoy.filters.http.router", router)


def _request_id(decides: bool) -> hcm.RequestIDExtension:
    # The id doubles as the sampling decision, so that all spans of a trace agree on it.
    config = UuidRequestIdConfig(use_request_id_for_trace_sampling=BoolValue(value=decides))
    return hcm.RequestIDExtension(typed_config=typed.pack(config))


def _normalise_paths(manager: hcm.HttpConnectionManager, settings: MeshSettings) -> None:
    """Normalise paths before authorization reads them, as MeshConfig.pathNormalization says."""
    mode = settings.path_normalization
    manager.normalize_path.value = mode != "NONE"
    manager.merge_slashes = mode in {"MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"}
    actions = hcm.HttpConnectionManager.PathWithEscapedSlashesAction
    decode = mode == "DECODE_AND_MERGE_SLASHES"
    manager.path_with_escaped_slashes_action = (
        actions.UNESCAPE_AND_FORWARD if decode else actions.KEEP_UNCHANGED
    )


def _serve_as_told(manager: hcm.HttpConnectionManager, own: InboundScope) -> None:
    """Do what the proxy's metadata ask for: HTTP/1.0, an end of idle connections."""
    if own.http10:
        manager.http_protocol_options.accept_http_10 = True
    if own.idle_timeout is not None:
        idle = typed.milliseconds(own.idle_timeout)
        manager.common_http_protocol_options.idle_timeout.CopyFrom(idle)


def _face_strangers(manager: hcm.HttpConnectionManager, settings: ProxySettings) -> None:
    """Believe nothing that a client says of itself, but what trusted proxies in front say of it."""
    manager.use_remote_address.value = True
    manager.xff_num_trusted_hops = settings.trusted_proxies
    modes = hcm.HttpConnectionManager.ForwardClientCertDetails
    manager.forward_client_cert_details = modes.Value(settings.forward_client_cert)
    details = manager.set_current_client_cert_details
    details.subject.value = True
    details.cert = True
    details.dns = True
    details.uri = True


def _route_discovery(name: str) -> hcm.Rds:
    source = ConfigSource(
        ads=AggregatedConfigSource(),
        initial_fetch_timeout=Duration(),
        resource_api_version=ApiVersion.V3,
    )
    return hcm.Rds(config_source=source, route_config_name=name)
