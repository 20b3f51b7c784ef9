"""A Redis that lies, hangs or dies costs config-push time and changes nothing that is served."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from libs.cache.cache import Cache, CacheOptions, Outcome, Sealer
from libs.cache.redis_backend import RedisBackend
from libs.model.mesh import Mesh
from libs.proxy.scoper import Scoper
from libs.runtime.tasks import background
from libs.xds.generate import GENERATORS
from libs.xds.types import CLUSTER, LISTENER, ROUTE
from services.config_push import shared as shared_module
from services.config_push.shared import SharedSets
from tests.support.mesh import endpoints, mesh, peer_policy, port, proxy, service, workload
from tests.support.push_plane import PATIENCE, ConnectedProxy, RunningPlane, running_plane
from tests.support.redis_server import RedisServer, running
from tests.support.sealer import TaggingSealer, TrustingSealer

SERVICES = [service(f"s{number}", port(80)) for number in range(20)]
PODS = [f"p{number}" for number in range(4)]
WORLD = mesh(
    *SERVICES,
    *(endpoints(one, "10.0.0.1") for one in SERVICES),
    *(workload(name, labels={"app": name}, workload_name=name) for name in PODS),
    *(peer_policy(name, mode="STRICT", selector={"app": name}) for name in PODS[::2]),
)


class Desk:
    """One Redis and the replicas of config-push that share it."""

    def __init__(
        self, server: RedisServer, folder: Path, sealer: Sealer, *, seconds: float = PATIENCE
    ) -> None:
        """Wait `seconds` for an operation: long, so that a busy machine loses none."""
        self.server = server
        self._seconds = seconds
        self.outcomes: Counter[Outcome] = Counter()
        self._folder = folder
        self._sealer = sealer

    @asynccontextmanager
    async def replica(self) -> AsyncIterator[tuple[RunningPlane, SharedSets]]:
        """Run a replica that has generated nothing yet."""
        cache = Cache(
            RedisBackend(self.server.url, timeout=self._seconds),
            self._sealer,
            observe=lambda outcome: self.outcomes.update([outcome]),
            options=CacheOptions(operation=self._seconds),
        )
        shared = SharedSets(cache, "form")
        try:
            async with (
                background(shared.run()),
                running_plane(self._folder, shared=shared) as plane,
            ):
                yield plane, shared
        finally:
            await cache.close()

    async def served(self, world: Mesh) -> dict[str, dict[str, dict[str, str]]]:
        """Return what a fresh replica serves of `world`: versions by pod, type and name."""
        async with self.replica() as (plane, shared):
            plane.change(world)
            found = {name: await _state(plane, name) for name in PODS}
            async with asyncio.timeout(PATIENCE):
                await shared.idle.wait()
        return found


async def _state(plane: RunningPlane, name: str) -> dict[str, dict[str, str]]:
    async with plane.proxy(name) as connected:
        client = connected.client
        await connected.send(
            client.subscribe(CLUSTER), client.subscribe(LISTENER), client.subscribe(ROUTE, ["80"])
        )
        await connected.until(lambda seen: seen.versions.keys() >= {CLUSTER, LISTENER, ROUTE})
        return {kind: dict(client.versions[kind]) for kind in (CLUSTER, LISTENER, ROUTE)}


def _oracle(world: Mesh) -> dict[str, dict[str, dict[str, str]]]:
    """What is generated from scratch, without any cache."""
    scoper = Scoper()
    found: dict[str, dict[str, dict[str, str]]] = {}
    for name in PODS:
        scope = scoper.scope(world, proxy(name))
        made = {kind: GENERATORS[kind](scope).resources for kind in (CLUSTER, LISTENER, ROUTE)}
        found[name] = {
            kind: {
                one.name: one.version
                for one in resources.values()
                if kind != ROUTE or one.name == "80"
            }
            for kind, resources in made.items()
        }
    return found


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a replica wait for all that Redis has, however busy the machine is."""
    monkeypatch.setattr(shared_module, "FETCH_SECONDS", PATIENCE)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    folder = tmp_path / "redis"
    folder.mkdir()
    async with running(folder) as started:
        yield started


async def _attack(server: RedisServer, seed: int) -> int:
    """Do something bad to every value; return how many there were."""
    chance = random.Random(seed)  # noqa: S311  # it repeats
    async with Redis.from_url(server.url) as redis:
        keys = sorted(await redis.keys("*"))
        values = [await redis.get(key) for key in keys]
        for number, key in enumerate(keys):
            match chance.randrange(5):
                case 0:
                    flipped = bytearray(values[number])
                    flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
                    await redis.set(key, bytes(flipped))
                case 1:
                    await redis.set(key, values[chance.randrange(len(values))] + b"x")
                case 2:
                    await redis.set(key, values[number][: chance.randrange(len(values[number]))])
                case 3:
                    await redis.delete(key)
                    await redis.lpush(key, b"of another type")
                case _:
                    await redis.set(key, bytes(9 * 1024 * 1024))
    return len(keys)


async def _swap(server: RedisServer) -> None:
    """Give each class what was made for another class."""
    async with Redis.from_url(server.url) as redis:
        for kind in (CLUSTER, LISTENER, ROUTE):
            keys = sorted(key for key in await redis.keys("*") if kind.encode() in key)
            values = [await redis.get(key) for key in keys]
            for key, value in zip(keys, values[1:] + values[:1], strict=True):
                await redis.set(key, value)


async def test_no_poisoned_value_is_ever_served(server: RedisServer, tmp_path: Path) -> None:
    desk = Desk(server, tmp_path, TaggingSealer())
    expected = _oracle(WORLD)
    assert await desk.served(WORLD) == expected
    attacked = 0
    for seed in range(6):
        attacked += await _attack(server, seed)
        assert await desk.served(WORLD) == expected
    await _swap(server)
    assert await desk.served(WORLD) == expected

    detected = sum(desk.outcomes[one] for one in (Outcome.POISONED, Outcome.OVERSIZE))
    assert attacked >= 30
    assert detected > attacked / 3  # the others are of another type, or no longer there


async def test_without_a_seal_one_class_would_be_served_what_is_anothers(
    server: RedisServer, tmp_path: Path
) -> None:
    desk = Desk(server, tmp_path, TrustingSealer())
    expected = _oracle(WORLD)
    assert await desk.served(WORLD) == expected
    await _swap(server)

    assert await desk.served(WORLD) != expected


async def test_a_second_replica_generates_nothing_that_the_first_one_did(
    server: RedisServer, tmp_path: Path
) -> None:
    desk = Desk(server, tmp_path, TaggingSealer())
    await desk.served(WORLD)
    before = desk.outcomes[Outcome.HIT]
    await desk.served(WORLD)

    assert desk.outcomes[Outcome.HIT] - before == 4 * 3  # classes, types


async def test_a_redis_that_hangs_or_dies_holds_up_no_change(
    server: RedisServer, tmp_path: Path
) -> None:
    """A change that waited for Redis would not come at all: no operation ends by itself."""
    desk = Desk(server, tmp_path, TaggingSealer(), seconds=2 * PATIENCE)
    async with desk.replica() as (plane, _):
        plane.change(WORLD)
        async with plane.proxy("p0") as connected:
            await connected.send(connected.client.subscribe(CLUSTER))
            await connected.receive()
            await connected.receive()
            server.hang()
            try:
                for number in range(5):
                    await _reaches(plane, connected, number)
            finally:
                server.resume()
            await server.stop()
            for number in range(5, 10):
                await _reaches(plane, connected, number)


async def test_a_new_proxy_waits_for_a_redis_that_hangs_only_so_long(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_module, "FETCH_SECONDS", 0.1)
    desk = Desk(server, tmp_path, TaggingSealer(), seconds=2 * PATIENCE)
    async with desk.replica() as (plane, _):
        plane.change(WORLD)
        server.hang()
        try:
            assert await _state(plane, "p1") == _oracle(WORLD)["p1"]
        finally:
            server.resume()


async def test_a_redis_that_was_emptied_or_is_slow_changes_nothing_that_is_served(
    server: RedisServer, tmp_path: Path
) -> None:
    desk = Desk(server, tmp_path, TaggingSealer())
    expected = _oracle(WORLD)
    assert await desk.served(WORLD) == expected
    async with Redis.from_url(server.url) as redis:
        await redis.flushall()
    hits = desk.outcomes[Outcome.HIT]
    assert await desk.served(WORLD) == expected
    assert desk.outcomes[Outcome.HIT] == hits
    async with Redis.from_url(server.url) as redis:
        assert len(await redis.keys("*")) >= len(PODS)  # it is filled again

    slow = Desk(server, tmp_path, TaggingSealer(), seconds=0.000_001)  # slower than it may be
    assert await slow.served(WORLD) == expected
    assert slow.outcomes[Outcome.FAILED] > 0
    assert slow.outcomes[Outcome.HIT] == 0


async def _reaches(plane: RunningPlane, connected: ConnectedProxy, number: int) -> None:
    """Let a new service come, and wait until a proxy has it."""
    plane.change(mesh(service(f"new{number}", port(80)), before=plane.mesh))
    name = f"outbound|80||new{number}.shop.svc.cluster.local"
    await connected.until(lambda seen: name in seen.versions[CLUSTER])


async def test_no_secret_is_in_redis(server: RedisServer, tmp_path: Path) -> None:
    desk = Desk(server, tmp_path, TaggingSealer())  # tags only, so that contents can be searched
    await desk.served(WORLD)
    async with Redis.from_url(server.url) as redis:
        content = b"".join([await redis.get(key) for key in await redis.keys("*")])

    assert b"outbound|80||s1" in content  # the search can find
    assert b"PRIVATE KEY" not in content
    assert b"extensions.transport_sockets.tls.v3.Secret\x12" not in content
