"""Which machines a replica says are connected, and what it says of their workloads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing, asynccontextmanager

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.rpc import status_pb2

from libs.model.ids import Ref, SpiffeId
from libs.model.machine import MachineGroup, machine_group_key
from libs.protos.machines.v1.machines_pb2 import Machine, Name, Roll
from libs.proxy import node
from libs.runtime.tasks import background
from services.config_push.machines import CHUNK, HEALTH, PACE_SECONDS, MachineBook, described
from tests.support import mesh
from tests.support.clock import VirtualClock

VM = MachineGroup(key=machine_group_key("shop", "vm"), ref=Ref("x"), service_account="vm")


class Following:
    """A follower with its rolls."""

    def __init__(self, rolls: AsyncIterator[Roll]) -> None:
        self._rolls = rolls
        self.found: asyncio.Queue[Roll] = asyncio.Queue()

    async def run(self) -> None:
        async for roll in self._rolls:
            self.found.put_nowait(roll)


@asynccontextmanager
async def following(book: MachineBook) -> AsyncIterator[asyncio.Queue[Roll]]:
    async with aclosing(book.follow()) as rolls:  # type: ignore[type-var]
        found = Following(rolls)
        async with background(found.run()):
            yield found.found


def machine(number: int = 1, **fields: object) -> Machine:
    return Machine(name=Name(namespace="shop", entry=f"vm-{number}"), since=1.0, **fields)  # type: ignore[arg-type]


def says(wrong: str | None) -> discovery_pb2.DeltaDiscoveryRequest:
    request = discovery_pb2.DeltaDiscoveryRequest(type_url=HEALTH)
    if wrong is not None:
        request.error_detail.CopyFrom(status_pb2.Status(code=13, message=wrong))
    return request


async def test_a_machine_is_here_while_any_stream_of_it_is() -> None:
    clock = VirtualClock()
    book = MachineBook(clock)
    async with following(book) as rolls:
        assert await asyncio.wait_for(rolls.get(), 60) == Roll()
        with book.connected(machine(locality="eu/a")):
            with book.connected(machine()), book.connected(None):
                await clock.advance(PACE_SECONDS)
                (here,) = (await asyncio.wait_for(rolls.get(), 60)).connected
                assert here.locality == "eu/a"
            await clock.advance(PACE_SECONDS)
            assert rolls.empty()
        await clock.advance(PACE_SECONDS)
        (gone,) = (await asyncio.wait_for(rolls.get(), 60)).gone
        assert (gone.namespace, gone.entry) == ("shop", "vm-1")


async def test_whoever_comes_later_gets_everything_first_in_pieces() -> None:
    book = MachineBook(VirtualClock())
    with ExitStack() as stack:
        for number in range(CHUNK + 1):
            stack.enter_context(book.connected(machine(number)))
        async with following(book) as rolls:
            first = await asyncio.wait_for(rolls.get(), 60)
            rest = await asyncio.wait_for(rolls.get(), 60)
            assert (len(first.connected), first.more) == (CHUNK, True)
            assert (len(rest.connected), rest.more) == (1, False)


async def test_health_is_told_once_and_forgotten_with_the_machine() -> None:
    clock = VirtualClock()
    book, one = MachineBook(clock), machine()
    async with following(book) as rolls:
        await asyncio.wait_for(rolls.get(), 60)
        with book.connected(one):
            book.hear(one, says("status 500"))
            await clock.advance(PACE_SECONDS)
            (here,) = (await asyncio.wait_for(rolls.get(), 60)).connected
            assert (here.health.healthy, here.health.message) == (False, "status 500")
            book.hear(one, says("status 500"))
            await clock.advance(PACE_SECONDS)
            assert rolls.empty()
            book.hear(one, says(None))
            with book.connected(machine()):
                await clock.advance(PACE_SECONDS)
                (here,) = (await asyncio.wait_for(rolls.get(), 60)).connected
                assert here.health.healthy
        book.hear(one, says(None))
        with book.connected(one):
            await clock.advance(PACE_SECONDS)
            (here,) = (await asyncio.wait_for(rolls.get(), 60)).connected
            assert not here.HasField("health")


def test_a_machine_is_described_by_what_it_proves_and_what_it_says() -> None:
    said = base_pb2.Node(id="sidecar~10.0.0.9~host.shop~shop.svc.cluster.local")
    said.locality.region, said.locality.zone = "eu", "a"
    said.metadata.fields["PROXY_CONFIG"].struct_value.update({"readinessProbe": {}})
    claims = {"AUTO_REGISTER_GROUP": "vm", "NETWORK": "far", "INSTANCE_IPS": "fd00::1,10.0.0.9"}
    proved = SpiffeId("cluster.local", "shop", "vm")
    proxy = node.parse(said.id, claims, proved, mesh.mesh(VM))
    found = described(said, proxy, 7.0)
    assert found == Machine(
        name=Name(namespace="shop", entry="vm-fd00--1-far"),
        service_account="vm",
        group="vm",
        address="fd00::1",
        network="far",
        locality="eu/a",
        probes=True,
        since=7.0,
    )
    assert described(said, None, 7.0) is None
