"""Inbound routes: everything that a port accepts goes to the workload itself."""

from envoy.config.route.v3.route_components_pb2 import (
    RetryPolicy,
    Route,
    RouteAction,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.duration_pb2 import Duration
from google.protobuf.wrappers_pb2 import BoolValue, UInt32Value
from msgspec import structs

from libs.model.service import Protocol
from libs.model.traffic import Retries
from libs.xds.generate import route_retries

_NEVER = Duration()
_RETRY_ON = "reset-before-request"
_RETRY = RetryPolicy(retry_on=_RETRY_ON, num_retries=UInt32Value(value=2))


def route_config(
    *, cluster: str, service_port: int, protocol: Protocol, retries: Retries | None = None
) -> RouteConfiguration:
    """Return the routes of one port, named like the cluster that they lead to."""
    host = VirtualHost(
        name=f"inbound|http|{service_port}",
        domains=["*"],
        routes=[_route(cluster, protocol, retries)],
    )
    return RouteConfiguration(
        name=cluster, virtual_hosts=[host], validate_clusters=BoolValue(value=False)
    )


def _route(cluster: str, protocol: Protocol, retries: Retries | None) -> Route:
    # Timeouts are the caller's business: its own proxy keeps them.
    action = RouteAction(
        cluster=cluster,
        timeout=_NEVER,
        max_stream_duration=RouteAction.MaxStreamDuration(
            max_stream_duration=_NEVER, grpc_timeout_header_max=_NEVER
        ),
    )
    if protocol not in {Protocol.GRPC, Protocol.GRPC_WEB}:
        # The application may close an idle connection just as a request is on its way. Nothing has
        # reached it then, so another try is safe; streams of gRPC do not bear it.
        retry = _RETRY if retries is None else _wanted(retries)
        if retry is not None:
            action.retry_policy.CopyFrom(retry)
    return Route(name="default", match=RouteMatch(prefix="/"), route=action)


def _wanted(retries: Retries) -> RetryPolicy | None:
    """There is one application to try again, so nothing is chosen among hosts."""
    chosen = structs.replace(retries, retry_on=retries.retry_on or _RETRY_ON)
    found = route_retries.policy(chosen, hashed=True)
    if found is not None:
        found.ClearField("host_selection_retry_max_attempts")
    return found
