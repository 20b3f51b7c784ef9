"""What a real Envoy does with one bad resource among good ones, and what we make of that."""

import asyncio
from pathlib import Path

import pytest
from envoy.config.core.v3.address_pb2 import Address, SocketAddress
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import (
    DirectResponseAction,
    Route,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from google.protobuf.any_pb2 import Any as ProtoAny
from google.protobuf.message import Message

from libs.xds.types import CLUSTER, LISTENER, ROUTE, NamedResource, Snapshot, resource, resource_set
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, running
from tests.support.ports import free_ports

NAMES = ("80", "81", "8080", "9080")


def _packed(message: Message) -> ProtoAny:
    made = ProtoAny()
    made.Pack(message)
    return made


def _listener(name: str, port: int) -> Listener:
    manager = hcm.HttpConnectionManager(stat_prefix=name)
    manager.rds.route_config_name = name
    manager.rds.config_source.CopyFrom(
        ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
    )
    router = hcm.HttpFilter(name="envoy.filters.http.router", typed_config=_packed(Router()))
    manager.http_filters.append(router)
    network = Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=_packed(manager)
    )
    return Listener(
        name=name,
        address=Address(socket_address=SocketAddress(address="127.0.0.1", port_value=port)),
        filter_chains=[FilterChain(filters=[network])],
    )


def _routes(name: str, status: int, *, bad: bool = False) -> RouteConfiguration:
    answer = Route(
        match=RouteMatch(prefix="/"), direct_response=DirectResponseAction(status=status)
    )
    hosts = [VirtualHost(name="all", domains=["*"], routes=[answer])]
    if bad:
        hosts.append(VirtualHost(name="twin", domains=["*"], routes=[answer]))
    return RouteConfiguration(name=name, virtual_hosts=hosts)


def _snapshot(ports: list[int], statuses: list[int], *, bad: str = "") -> Snapshot:
    listeners = [_listener(name, port) for name, port in zip(NAMES, ports, strict=True)]
    routes = [
        _routes(name, status, bad=name == bad) for name, status in zip(NAMES, statuses, strict=True)
    ]
    return Snapshot(
        {
            CLUSTER: resource_set(CLUSTER, ()),
            LISTENER: resource_set(LISTENER, [_resource(LISTENER, one) for one in listeners]),
            ROUTE: resource_set(ROUTE, [_resource(ROUTE, one) for one in routes]),
        }
    )


def _resource(type_url: str, made: Listener | RouteConfiguration) -> NamedResource:
    return resource(made.name, type_url, body=made.SerializeToString(deterministic=True))


async def _statuses(envoy: Envoy) -> dict[str, int]:
    dump = await envoy.config_dump()
    found: dict[str, int] = {}
    for config in dump["configs"]:
        for one in config.get("dynamic_route_configs", ()):
            made = one["route_config"]
            route = made["virtual_hosts"][0]["routes"][0]
            found[made["name"]] = route["direct_response"]["status"]
    return found


@pytest.mark.parametrize("bad", NAMES)
async def test_routes_beside_a_bad_one_take_effect(bad: str, tmp_path: Path) -> None:
    """Envoy refuses the response at the bad one and forgets those that it had not come to yet."""
    ports = free_ports(len(NAMES))
    certificate = TestAuthority().issue("default", "shop")
    expected = {name: 200 if name == bad else 204 for name in NAMES}
    async with running(_snapshot(ports, [200] * 4), certificate, tmp_path) as envoy:
        envoy.plane.serve(_snapshot(ports, [204] * 4, bad=bad))
        async with asyncio.timeout(60):
            while await _statuses(envoy) != expected:  # noqa: ASYNC110 - a page cannot be awaited
                await asyncio.sleep(0.02)
            while not envoy.plane.refused:  # noqa: ASYNC110 - said after the last route is in effect
                await asyncio.sleep(0.02)

    assert envoy.plane.refused == [f"Only a single wildcard domain is permitted in route {bad}"]
