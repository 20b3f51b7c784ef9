"""Names of gateways are looked up, again and again, and survive that nobody answers."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from libs.api.resolved_name import ResolvedName
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.networks import NetworkGateway, Networks
from libs.runtime.tasks import background
from libs.translate.apply import Event, Remove, Upsert
from services.discovery.name_finder import (
    MAX_NAMES,
    REFRESH_SECONDS,
    NameFinder,
    look_up,
    names,
)
from tests.support import mesh as rows
from tests.support.clock import VirtualClock, settle


def mesh_of(*addresses: str) -> Mesh:
    gateways = (NetworkGateway(network="n", address=it, port=1) for it in addresses)
    return rows.mesh(Networks(ref=Ref("x"), gateways=tuple(gateways)))


class World:
    """A resolver, and what the finder says of it."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.known: dict[str, tuple[str, ...]] = {}
        self.away = False
        self.asked: list[str] = []
        self.events: list[Event] = []
        self.finder = NameFinder(self.look, self.clock, self.events.append)

    async def look(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        if self.away:
            raise TimeoutError
        return self.known.get(name, ())

    @property
    def said(self) -> list[tuple[tuple[str, ...], str]]:
        found = [it.resource for it in self.events if isinstance(it, Upsert)]
        return [(it.addresses, it.fault) for it in found if isinstance(it, ResolvedName)]


@asynccontextmanager
async def finding(*addresses: str, **known: tuple[str, ...]) -> AsyncIterator[World]:
    world = World()
    world.known = {f"{name}.example": found for name, found in known.items()}
    async with background(world.finder.run()):
        world.finder.want(mesh_of(*addresses))
        await settle()
        yield world


async def test_a_name_is_looked_up_at_once_and_every_half_minute() -> None:
    async with finding("GW.example", "192.0.2.1", gw=("192.0.2.7",)) as world:
        assert world.asked == ["gw.example"]
        assert world.said == [(("192.0.2.7",), "")]
        world.known["gw.example"] = ("192.0.2.8",)
        await world.clock.advance(REFRESH_SECONDS)
        assert world.said[1:] == [(("192.0.2.8",), "")]
        await world.clock.advance(REFRESH_SECONDS)
        assert len(world.asked) == 3
        assert len(world.said) == 2  # nothing new


async def test_addresses_stay_while_nobody_answers_and_go_with_the_name() -> None:
    async with finding("gw.example", gw=("192.0.2.7",)) as world:
        world.away = True
        await world.clock.advance(REFRESH_SECONDS)
        assert len(world.said) == 1
        world.away, world.known = False, {}
        await world.clock.advance(REFRESH_SECONDS)
        assert world.said[1:] == [((), "'gw.example' has no address")]


async def test_a_name_that_could_never_be_looked_up_is_said() -> None:
    world = World()
    world.away = True
    async with background(world.finder.run()):
        world.finder.want(mesh_of("gw.example"))
        await world.finder.tried(10.0)
        assert world.said == [((), "'gw.example' could not be looked up")]


async def test_a_name_that_nobody_wants_is_forgotten() -> None:
    async with finding("gw.example", gw=("192.0.2.7",)) as world:
        world.finder.want(mesh_of())
        await settle()
        assert isinstance(world.events[-1], Remove)
        await world.clock.advance(REFRESH_SECONDS)
        assert world.asked == ["gw.example"]


def test_names_are_bounded() -> None:
    found = names(mesh_of(*(f"{number:04}.example" for number in range(MAX_NAMES + 1))))
    assert len(found) == MAX_NAMES
    assert "0000.example" in found


async def test_the_machines_resolver_is_asked() -> None:
    assert set(await look_up("localhost")) <= {"127.0.0.1", "::1"}
    assert await look_up("localhost")


@pytest.mark.parametrize("number", [socket.EAI_NONAME, socket.EAI_AGAIN])
async def test_no_such_name_differs_from_no_answer(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise socket.gaierror(number, "")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    if number == socket.EAI_NONAME:
        assert await look_up("gw.example") == ()
    else:
        with pytest.raises(OSError, match=r".*"):
            await look_up("gw.example")
