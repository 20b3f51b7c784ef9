"""gRPC's own xDS client, which nobody here wrote, is configured by us and routes a real call.

It is stricter than Envoy: it looks at versions, wants an API listener by the name of the target, a
weight for each locality, and tells what it dislikes.
"""

from pathlib import Path

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.base_pb2 import Locality
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.endpoint.v3.endpoint_components_pb2 import (
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.api_listener_pb2 import ApiListener
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import UInt32Value

from libs.model.ids import SpiffeId
from libs.proxy.scope import ProxyScope
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, NamedResource, resource, resource_set
from tests.support.grpc_xds import backend, calling
from tests.support.mesh import mesh, service
from tests.support.push_plane import RunningPlane, identity, running_plane

TARGET = "greeter.shop:80"
ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)


def _packed(message: Message) -> ProtoAny:
    made = ProtoAny()
    made.Pack(message)
    return made


def _listener() -> Listener:
    manager = hcm.HttpConnectionManager()
    manager.rds.CopyFrom(hcm.Rds(config_source=ADS, route_config_name="greeter"))
    router = hcm.HttpFilter(name="router", typed_config=_packed(Router()))
    manager.http_filters.append(router)
    return Listener(name=TARGET, api_listener=ApiListener(api_listener=_packed(manager)))


def _routes() -> RouteConfiguration:
    everything = Route(match=RouteMatch(prefix=""), route=RouteAction(cluster="greeter"))
    host = VirtualHost(name="greeter", domains=[TARGET], routes=[everything])
    return RouteConfiguration(name="greeter", virtual_hosts=[host])


def _cluster(policy: "Cluster.LbPolicy.ValueType") -> Cluster:
    return Cluster(
        name="greeter",
        type=Cluster.DiscoveryType.EDS,
        eds_cluster_config=Cluster.EdsClusterConfig(eds_config=ADS),
        lb_policy=policy,
    )


def _endpoints(port: int) -> ClusterLoadAssignment:
    address = Address(socket_address=SocketAddress(address="127.0.0.1", port_value=port))
    group = LocalityLbEndpoints(
        locality=Locality(region="here"),
        lb_endpoints=[LbEndpoint(endpoint=Endpoint(address=address))],
        load_balancing_weight=UInt32Value(value=1),
    )
    return ClusterLoadAssignment(cluster_name="greeter", endpoints=[group])


def _named(type_url: str, name: str, message: Message) -> NamedResource:
    return resource(name, type_url, body=message.SerializeToString(deterministic=True))


class Greeter:
    """What the test wants the client to see; a change of the mesh makes it be sent."""

    def __init__(self) -> None:
        self.port = 0
        self.policy = Cluster.LbPolicy.ROUND_ROBIN
        self.generators = {
            LISTENER: lambda _: resource_set(LISTENER, [_named(LISTENER, TARGET, _listener())]),
            ROUTE: lambda _: resource_set(ROUTE, [_named(ROUTE, "greeter", _routes())]),
            CLUSTER: lambda _: resource_set(
                CLUSTER, [_named(CLUSTER, "greeter", _cluster(self.policy))]
            ),
            ENDPOINT: self._endpoints,
        }

    def _endpoints(self, _scope: ProxyScope) -> object:
        return resource_set(ENDPOINT, [_named(ENDPOINT, "greeter", _endpoints(self.port))])


def _touch(running: RunningPlane, number: int) -> int:
    """Make the mesh differ, so that everything is made again."""
    return running.change(mesh(service(f"s{number}"), before=running.mesh), "Service/x/y").change


async def authenticate(_context: object) -> SpiffeId:
    return identity()


async def test_a_call_is_routed_follows_its_endpoints_and_survives_a_bad_cluster(
    tmp_path: Path,
) -> None:
    greeter = Greeter()
    async with (
        backend(b"one") as one,
        backend(b"two") as two,
        running_plane(
            tmp_path, generators=greeter.generators, authenticate=authenticate
        ) as running,
        calling(tmp_path, running.address, TARGET) as caller,
    ):
        greeter.port = one
        _touch(running, 1)
        assert await caller.call() == "one"

        greeter.port = two
        moved = await running.receipt(_touch(running, 2))
        assert (moved.sent, moved.acknowledged) == (1, 1)
        await caller.until("two")

        greeter.policy = Cluster.LbPolicy.MAGLEV
        refused = await running.receipt(_touch(running, 3))
        assert refused.rejected == 1
        assert refused.rejections[0].resources == ["greeter"]
        assert "LB policy" in refused.rejections[0].text
        assert await caller.call() == "two"
