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

from libs.model.service import Protocol

_NEVER = Duration()


def route_config(*, cluster: str, service_port: int, protocol: Protocol) -> RouteConfiguration:
    """Return the routes of one port, named like the cluster that they lead to."""
    host = VirtualHost(
        name=f"inbound|http|{service_port}", domains=["*"], routes=[_route(cluster, protocol)]
    )
    return RouteConfiguration(
        name=cluster, virtual_hosts=[host], validate_clusters=BoolValue(value=False)
    )


def _route(cluster: str, protocol: Protocol) -> Route:
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
        retry = RetryPolicy(retry_on="reset-before-request", num_retries=UInt32Value(value=2))
        action.retry_policy.CopyFrom(retry)
    return Route(name="default", match=RouteMatch(prefix="/"), route=action)
