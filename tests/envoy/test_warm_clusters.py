"""Requests through a real Envoy while its route moves to a new cluster again and again.

Each push brings a subset's cluster, points the route at it and takes the old one away.
"""

import asyncio
from collections import Counter
from itertools import count
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.endpoint.v3.endpoint_components_pb2 import (
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, Snapshot, resource, resource_set
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, running
from tests.support.ports import free_ports
from tests.support.traffic import application, http

PUSHES = 50
CALLERS = 4
_ADS = ConfigSource(
    ads=AggregatedConfigSource(),
    resource_api_version=ApiVersion.V3,
    initial_fetch_timeout=Duration(),
)


def _packed(message: Message) -> ProtoAny:
    made = ProtoAny()
    made.Pack(message)
    return made


def _address(port: int) -> Address:
    return Address(socket_address=SocketAddress(address="127.0.0.1", port_value=port))


def _cluster(name: str) -> Cluster:
    made = Cluster(name=name, type=Cluster.EDS)
    made.connect_timeout.FromSeconds(1)
    made.eds_cluster_config.eds_config.CopyFrom(_ADS)
    return made


def _endpoints(cluster: str, port: int) -> ClusterLoadAssignment:
    one = LbEndpoint(endpoint=Endpoint(address=_address(port)))
    return ClusterLoadAssignment(
        cluster_name=cluster, endpoints=[LocalityLbEndpoints(lb_endpoints=[one])]
    )


def _listener(port: int, server: str = "") -> Listener:
    manager = hcm.HttpConnectionManager(stat_prefix="web", server_name=server)
    manager.rds.route_config_name = "80"
    manager.rds.config_source.CopyFrom(_ADS)
    router = hcm.HttpFilter(name="envoy.filters.http.router", typed_config=_packed(Router()))
    manager.http_filters.append(router)
    network = Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=_packed(manager)
    )
    chain = FilterChain(filters=[network])
    return Listener(name="web", address=_address(port), filter_chains=[chain])


def _routes(cluster: str) -> RouteConfiguration:
    route = Route(match=RouteMatch(prefix="/"), route=RouteAction(cluster=cluster))
    host = VirtualHost(name="web", domains=["*"], routes=[route])
    return RouteConfiguration(name="80", virtual_hosts=[host])


def _snapshot(subset: int, port: int, application_port: int) -> Snapshot:
    name = f"outbound|80|v{subset}|web.shop"
    made: dict[str, tuple[str, Message]] = {
        CLUSTER: (name, _cluster(name)),
        ENDPOINT: (name, _endpoints(name, application_port)),
        LISTENER: ("web", _listener(port)),
        ROUTE: ("80", _routes(name)),
    }
    return Snapshot(
        {
            type_url: resource_set(
                type_url,
                [resource(one, type_url, body=message.SerializeToString(deterministic=True))],
            )
            for type_url, (one, message) in made.items()
        }
    )


async def _statuses_while_pushing(folder: Path, *, gated: bool, whole: bool = False) -> list[int]:
    port, application_port = free_ports(2)
    certificate = TestAuthority().issue("default", "shop")
    statuses: list[int] = []

    async def call(until: asyncio.Event) -> None:
        while not until.is_set():
            statuses.append((await http(("127.0.0.1", port))).status)

    first = _snapshot(0, port, application_port)
    async with (
        application("127.0.0.1", application_port),
        running(first, certificate, folder, gated=gated, whole=whole) as envoy,
        asyncio.TaskGroup() as callers,
    ):
        done = asyncio.Event()
        for _ in range(CALLERS):
            callers.create_task(call(done))
        try:
            pushes = await _push(envoy, statuses, ports=(port, application_port), gated=gated)
        finally:
            done.set()
    print(f"gated={gated} whole={whole}: {dict(Counter(statuses))} in {pushes} pushes")  # noqa: T201
    return statuses


async def _push(envoy: Envoy, statuses: list[int], *, ports: tuple[int, int], gated: bool) -> int:
    """Push PUSHES times, and without gates until a request has failed; return how often."""
    for subset in count(1):
        changed = envoy.plane.serve(_snapshot(subset, *ports))
        await envoy.plane.settled(set(changed) - {ENDPOINT})
        await envoy.plane.quiet()
        asked = len(statuses)
        while len(statuses) < asked + CALLERS:  # noqa: ASYNC110 - whoever calls counts
            await asyncio.sleep(0.001)
        if subset >= PUSHES and (gated or 503 in statuses):
            break
    assert await _clusters(envoy) == {f"outbound|80|v{subset}|web.shop"}
    return subset


async def _clusters(envoy: Envoy) -> set[str]:
    dump = await envoy.config_dump()
    return {
        one["cluster"]["name"]
        for config in dump["configs"]
        for one in config.get("dynamic_active_clusters", ())
    }


@pytest.mark.parametrize("whole", [False, True], ids=["delta", "whole"])
async def test_no_request_fails_while_its_route_moves(tmp_path: Path, whole: bool) -> None:
    statuses = await _statuses_while_pushing(tmp_path, gated=True, whole=whole)
    assert [status for status in statuses if status != 200] == []


async def test_without_gates_requests_fail(tmp_path: Path) -> None:
    statuses = await _statuses_while_pushing(tmp_path, gated=False)
    assert [status for status in statuses if status == 503]


COLD = "outbound|80||cold.shop"


def _never_warm() -> Cluster:
    """A cluster whose certificate never comes."""
    context = UpstreamTlsContext()
    wanted = context.common_tls_context.tls_certificate_sds_secret_configs.add(name="absent")
    wanted.sds_config.CopyFrom(_ADS)
    made = _cluster(COLD)
    made.transport_socket.name = "envoy.transport_sockets.tls"
    made.transport_socket.typed_config.Pack(context)
    return made


def _with(before: Snapshot, type_url: str, *messages: tuple[str, Message]) -> Snapshot:
    made = [
        resource(name, type_url, body=message.SerializeToString(deterministic=True))
        for name, message in messages
    ]
    kept = before.of(type_url).resources
    both = {**kept, **{one.name: one for one in made}}
    return Snapshot({**before.sets, type_url: resource_set(type_url, both.values())})


@pytest.mark.parametrize("whole", [False, True], ids=["delta", "whole"])
async def test_a_cluster_that_never_gets_warm_holds_up_only_what_names_it(
    tmp_path: Path, whole: bool
) -> None:
    port, application_port = free_ports(2)
    certificate = TestAuthority().issue("default", "shop")
    first = _snapshot(0, port, application_port)
    async with (
        application("127.0.0.1", application_port),
        running(first, certificate, tmp_path, whole=whole) as envoy,
    ):
        routes = _routes("outbound|80|v0|web.shop")
        leads = Route(match=RouteMatch(path="/cold"), route=RouteAction(cluster=COLD))
        routes.virtual_hosts[0].routes.insert(0, leads)
        cold = _with(_with(first, CLUSTER, (COLD, _never_warm())), ROUTE, ("80", routes))
        envoy.plane.serve(cold)
        assert envoy.plane.held

        envoy.plane.serve(_with(cold, LISTENER, ("web", _listener(port, "hardened"))))
        await envoy.plane.settled([LISTENER])
        await envoy.active()
        answer = await http(("127.0.0.1", port))
        assert (answer.status, answer.headers["server"]) == (200, "hardened")
        assert envoy.plane.held
        assert (await http(("127.0.0.1", port), path="/cold")).status == 200  # as before

        envoy.plane.release()
        await envoy.plane.settled([ROUTE])
        async with asyncio.timeout(30):  # Envoy acknowledges before its threads have taken over
            while (await http(("127.0.0.1", port), path="/cold")).status != 503:
                pass


pytestmark = pytest.mark.timeout(600)
