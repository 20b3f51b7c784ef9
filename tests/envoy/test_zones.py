"""Zones through a real Envoy: requests stay in the client's own, if it knows its peers."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from msgspec import structs

from libs.model.endpoint import Endpoint, EndpointSet, Locality
from libs.model.service import Protocol, Service, ServicePort
from libs.model.traffic import LoadBalancing, LocalityBalancing, TrafficPolicy
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import Snapshot
from tests.support import agent as agents
from tests.support import mesh, traffic
from tests.support.mesh import host_policy, service, workload

PORT = 8088
NEAR, FAR = Locality("north", "a"), Locality("north", "b")
REQUESTS = 40
ASKS = {"ENABLE_SELF_DISCOVERY": "true"}


def members(of: Service, *places: tuple[str, Locality]) -> EndpointSet:
    """Return endpoints of the first port of a service."""
    found = tuple(
        Endpoint(
            address=address,
            port=PORT,
            port_name=of.ports[0].name,
            workload_name=of.host.partition(".")[0],
            namespace="shop",
            locality=place,
        )
        for address, place in places
    )
    return EndpointSet(key=of.key, endpoints=found)


def snapshot(outbound: str, near: str, far: str, *, own_address: str, asks: bool) -> Snapshot:
    """Return what a client in the near zone gets; it has a peer in the far one."""
    http = ServicePort(PORT, "http", Protocol.HTTP)
    web, own = service("web", http), service("client", http, selector={"app": "client"})
    zones = LocalityBalancing(enabled=True, zones=True, min_cluster_size=1)
    policy = TrafficPolicy(load_balancing=LoadBalancing(locality=zones))
    now = mesh.mesh(
        web,
        own,
        members(web, (near, NEAR), (far, FAR)),
        members(own, ("10.244.0.9", NEAR), ("10.244.0.10", FAR)),
        workload("client", labels={"app": "client"}, locality=NEAR, workload_name="client"),
        host_policy("zones", web.host, policy=policy),
    )
    client = mesh.proxy(
        interception=Interception.NONE,
        outbound_address=outbound,
        addresses=(own_address,),
        labels={"app": "client"},
        locality=NEAR,
    )
    if asks:
        client = structs.replace(client, metadata=ASKS)
    return generate.snapshot(Scoper().scope(now, client))


async def asked(address: str) -> str:
    answer = await traffic.http((address, PORT), headers={"host": "web.shop"})
    assert answer.status == 200
    return answer.headers["where"]


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the address that was called."""
    try:
        where = writer.get_extra_info("sockname")[0].encode()
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nwhere: %s\r\ncontent-length: 0\r\n\r\n" % where)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("asks", [True, False])
async def test_requests_stay_in_the_zone_of_who_knows_its_peers(tmp_path: Path, asks: bool) -> None:
    """Negative control: without `ENABLE_SELF_DISCOVERY` both zones are called."""
    outbound, near, far, own = (agents.loopback() for _ in range(4))
    config = snapshot(outbound, near, far, own_address=own, asks=asks)
    servers = [await asyncio.start_server(serve, address, PORT) for address in (near, far)]
    try:
        async with (
            agents.mesh(tmp_path, config) as plane,
            agents.agent(plane, address=own) as agent,
        ):
            await agent.ready()
            called = Counter([await asked(outbound) for _ in range(REQUESTS)])
            assert set(called) == ({near} if asks else {near, far})
            assert plane.plane.refused == []
    finally:
        for server in servers:
            server.close()
