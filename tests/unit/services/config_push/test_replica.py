"""The replica on a virtual clock, with a discovery that does what the test says."""

import asyncio
from collections.abc import AsyncIterator

from libs.model import wire
from libs.model.delta import Delta
from libs.model.mesh import Mesh
from libs.protos.feed.v1.feed_pb2 import MeshUpdate, Row
from libs.rpc.errors import NotReadyError
from libs.runtime.backoff import Backoff
from libs.runtime.tasks import background
from services.config_push.errors import FeedGapError
from services.config_push.replica import Replica
from tests.support.clock import VirtualClock, settle
from tests.support.mesh import mesh, row_key, service

A, B = service("a"), service("b")


def _snapshot(*rows: object, sequence: int = 1) -> MeshUpdate:
    made = []
    for row in rows:
        key = row_key(row)  # type: ignore[arg-type]
        made.append(Row(type=key.table, key=key.key, body=wire.encode(row)))  # type: ignore[arg-type]
    return MeshUpdate(sequence=sequence, snapshot=True, rows=made)


class Discovery:
    """Plays one script for each subscription; an exception in it is raised, the end is silence."""

    def __init__(self, *scripts: list[MeshUpdate | Exception]) -> None:
        self._scripts = list(scripts)
        self.subscriptions = 0

    async def subscribe(self) -> AsyncIterator[MeshUpdate]:
        self.subscriptions += 1
        for step in self._scripts.pop(0) if self._scripts else []:
            if isinstance(step, Exception):
                raise step
            yield step
        await asyncio.Event().wait()


class Seen:
    def __init__(self) -> None:
        self.meshes: list[set[str]] = []
        self.deltas: list[Delta] = []

    def __call__(self, mesh: Mesh, delta: Delta) -> None:
        self.meshes.append({row.name for row in mesh.services.values()})
        self.deltas.append(delta)


def _replica(discovery: Discovery, seen: Seen, clock: VirtualClock, **more: object) -> Replica:
    return Replica(
        discovery.subscribe,
        seen,
        clock=clock,
        backoff=Backoff(first=1.0, limit=4.0),
        jitter=lambda: 0.99999,
        **more,  # type: ignore[arg-type]
    )


async def test_it_serves_on_while_discovery_is_away_and_tells_only_what_differs() -> None:
    lost = FeedGapError("lost")
    discovery = Discovery([_snapshot(A), lost], [lost], [_snapshot(A)], [])
    seen, clock = Seen(), VirtualClock()
    replica = _replica(discovery, seen, clock)
    async with background(replica.run()):
        await settle()
        assert (replica.synced, replica.connected) == (True, False)
        assert seen.meshes == [{"a"}]
        await clock.advance(1.0)
        assert discovery.subscriptions == 2
        assert set(replica.mesh.services) == {A.key}
        await clock.advance(1.0)
        assert discovery.subscriptions == 2
        await clock.advance(1.0)
        assert discovery.subscriptions == 3
        assert replica.connected
        assert seen.meshes == [{"a"}]


async def test_pauses_grow_up_to_a_limit_and_start_again_after_success() -> None:
    away = NotReadyError("no certificate")
    discovery = Discovery([away], [away], [away], [away], [_snapshot(A), away], [])
    clock = VirtualClock()
    pauses: list[float] = []
    async with background(_replica(discovery, Seen(), clock).run()):
        pauses.extend([round(await clock.advance_to_next()) for _ in range(5)])

    assert pauses == [2, 4, 4, 4, 1]


async def test_an_empty_mesh_is_a_mesh() -> None:
    discovery, seen = Discovery([_snapshot()]), Seen()
    replica = _replica(discovery, seen, VirtualClock())
    async with background(replica.run()):
        await settle()

    assert replica.synced
    assert seen.meshes == [set()]


async def test_a_mesh_of_an_earlier_life_is_served_only_until_discovery_answers() -> None:
    async def kept() -> Mesh:
        return mesh(A, B)

    discovery = Discovery([FeedGapError("away")], [_snapshot(A)])
    seen, clock = Seen(), VirtualClock()
    replica = _replica(discovery, seen, clock, fallback=kept)
    async with background(replica.run()):
        await settle()
        assert seen.meshes == [{"a", "b"}]
        assert (replica.synced, replica.connected) == (True, False)
        await clock.advance(2.0)

    assert seen.meshes == [{"a", "b"}, {"a"}]
    assert len(seen.deltas[1].removed) == 1


async def test_whoever_hears_from_discovery_needs_no_earlier_life() -> None:
    async def kept() -> Mesh:
        raise AssertionError

    discovery = Discovery([_snapshot(A), FeedGapError("lost")], [])
    clock = VirtualClock()
    replica = _replica(discovery, Seen(), clock, fallback=kept)
    async with background(replica.run()):
        await clock.advance(5.0)

    assert set(replica.mesh.services) == {A.key}
