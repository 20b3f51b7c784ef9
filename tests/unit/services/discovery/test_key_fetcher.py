"""Keys come, are refreshed, survive a failure for a while, and go."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import REGISTRY

from libs.api.security.key_set import KeySet
from libs.model.mesh import Mesh
from libs.model.tokens import TokenRule
from libs.runtime.tasks import background
from libs.translate.apply import Event, Remove, Upsert
from services.discovery.key_fetcher import KEEP_SECONDS, MAX_SOURCES, KeyFetcher, sources
from services.discovery.outgoing import FetchError
from tests.support import mesh as rows
from tests.support.clock import VirtualClock, settle

URL = "https://issuer.example/keys"


def key(name: str) -> bytes:
    row = {"kty": "EC", "crv": "P-256", "x": name, "y": "eQ"}
    return json.dumps({"keys": [row]}).encode()


def mesh_of(*names: str, timeout: int = 5000) -> Mesh:
    rules = tuple(TokenRule(source=name, timeout=timeout) for name in names)
    return rows.mesh(rows.token_policy("t", rules=rules))


def fetches() -> tuple[float, float]:
    """Return how many have come to something, and how many to nothing."""
    name = "pilot_jwks_resolver_network_fetch_{}_total"
    good, bad = (REGISTRY.get_sample_value(name.format(it)) for it in ("success", "fail"))
    return good or 0.0, bad or 0.0


class World:
    """The issuers, and what the fetcher says of them."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.documents: dict[str, bytes] = {}
        self.asked: list[tuple[str, float]] = []
        self.events: list[Event] = []
        self.fetcher = KeyFetcher(self.get, self.clock, self.events.append)

    async def get(self, url: str, *, seconds: float) -> bytes:
        self.asked.append((url, seconds))
        if url not in self.documents:
            message = "status 404"
            raise FetchError(message)
        return self.documents[url]

    @property
    def last(self) -> KeySet:
        event = self.events[-1]
        assert isinstance(event, Upsert)
        assert isinstance(event.resource, KeySet)
        return event.resource


@asynccontextmanager
async def fetching(*names: str, **documents: bytes) -> AsyncIterator[World]:
    world = World()
    world.documents.update({URL: documents.get("keys", b"")} if documents else {})
    async with background(world.fetcher.run()):
        world.fetcher.want(mesh_of(*names))
        await settle()
        yield world


# proves: RequestAuthentication spec.jwtRules[].jwksUri
async def test_keys_are_fetched_at_once_and_every_twenty_minutes() -> None:
    async with fetching(f"keys:{URL}", keys=key("one")) as world:
        assert '"x":"one"' in world.last.keys
        assert world.asked == [(URL, 5.0)]
        world.documents[URL] = key("two")
        await world.clock.advance(19 * 60)
        assert len(world.asked) == 1
        await world.clock.advance(60)
        assert '"x":"two"' in world.last.keys
        assert '"x":"one"' not in world.last.keys


async def test_old_keys_stay_for_a_day_and_then_no_key_is_left() -> None:
    async with fetching(f"keys:{URL}", keys=key("one")) as world:
        for broken in (b"<html>", b'{"keys":[]}', key("x").replace(b"EC", b"oct")):
            world.documents[URL] = broken
            await world.clock.advance(20 * 60)
            assert '"x":"one"' in world.last.keys
            assert world.last.fault
        await world.clock.advance(KEEP_SECONDS)
        assert world.last.keys == ""
        world.documents[URL] = key("back")
        await world.clock.advance(10 * 60)
        assert '"x":"back"' in world.last.keys
        assert world.last.fault == ""


async def test_a_failure_is_tried_again_soon() -> None:
    before = fetches()
    async with fetching(f"keys:{URL}") as world:
        assert (world.last.keys, world.last.fault) == ("", "status 404")
        assert fetches() == (before[0], before[1] + 1)
        world.documents[URL] = key("one")
        await world.clock.advance(2)
        assert '"x":"one"' in world.last.keys
        assert fetches()[0] == before[0] + 1


async def test_an_issuer_says_where_its_keys_are() -> None:
    world = World()
    issuer = "https://issuer.example/realm/"
    place = "https://issuer.example/realm/.well-known/openid-configuration"
    world.documents = {
        place: json.dumps({"issuer": issuer, "jwks_uri": URL}).encode(),
        URL: key("one"),
    }
    async with background(world.fetcher.run()):
        world.fetcher.want(mesh_of(f"issuer:{issuer}"))
        await settle()
        assert '"x":"one"' in world.last.keys
        world.documents[place] = json.dumps({"issuer": "https://evil", "jwks_uri": URL}).encode()
        await world.clock.advance(20 * 60)
        assert "evil" in world.last.fault


async def test_what_nobody_wants_any_more_is_forgotten() -> None:
    async with fetching(f"keys:{URL}", keys=key("one")) as world:
        world.fetcher.want(mesh_of())
        await settle()
        assert isinstance(world.events[-1], Remove)
        await world.clock.advance(60 * 60)
        assert len(world.asked) == 1


async def test_the_first_attempt_can_be_waited_for() -> None:
    async with fetching(f"keys:{URL}") as world:
        await world.fetcher.tried(5)
        assert world.events


def test_too_many_sources_are_cut_by_name() -> None:
    names = [f"keys:https://x/{number:04}" for number in range(MAX_SOURCES + 2)]
    found = sources(mesh_of(*names))
    assert sorted(found) == names[:MAX_SOURCES]
    assert sources(mesh_of("keys:a", timeout=100_000)) == {"keys:a": 30.0}
