import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from libs.model import wire
from libs.model.mesh import Key, Mesh, Table
from libs.model.settings import MeshSettings
from libs.protos.feed.v1.feed_pb2 import MeshUpdate
from libs.translate.apply import Remove, State, Upsert, apply, initial
from services.discovery import feed as feed_module
from services.discovery.errors import FellBehindError
from services.discovery.feed import Feed
from tests.support.resources import resources

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
---
"""


class Source:
    """Publishes what happens to services."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._state: State = initial(MeshSettings())
        self.change = 100

    @property
    def mesh(self) -> Mesh:
        return self._state.mesh

    def add(self, *names: str) -> None:
        found = [it for name in names for it in resources(SERVICE.replace("NAME", name))]
        self._publish([Upsert(resource, 5.0) for resource in found])

    def remove(self, name: str) -> None:
        (resource,) = resources(SERVICE.replace("NAME", name))
        self._publish([Remove(resource.ref, 5.0)])

    def _publish(self, events: list[Upsert | Remove]) -> None:
        step = apply(self._state, events)
        self._state = step.state
        self.change += 7
        self._feed.publish(step.state.mesh, replace(step.delta, change=self.change))


async def whole(updates: AsyncIterator[MeshUpdate]) -> list[MeshUpdate]:
    """Return the messages of one snapshot or change."""
    found = [await anext(updates)]
    while found[-1].more:
        found.append(await anext(updates))
    return found


def replicate(rows: dict[Key, object], updates: list[MeshUpdate]) -> None:
    for update in updates:
        for row in update.rows:
            table = Table(row.type)
            rows[Key(table, row.key)] = wire.decode(table, row.body)
        for gone in update.removed:
            del rows[Key(Table(gone.type), gone.key)]


def contents(mesh: Mesh) -> dict[Key, object]:
    return {Key(table, key): row for table in Table for key, row in mesh.rows(table).items()}


async def test_a_subscriber_gets_the_snapshot_and_then_changes() -> None:
    feed = Feed()
    source = Source(feed)
    source.add("a", "b")
    replica: dict[Key, object] = {}
    updates = feed.follow()
    snapshot = await whole(updates)
    assert all(update.snapshot for update in snapshot)
    assert snapshot[-1].change == source.change
    replicate(replica, snapshot)
    assert replica == contents(source.mesh)

    source.add("c")
    source.remove("a")
    added, removed = await whole(updates), await whole(updates)
    assert [update.snapshot for update in added + removed] == [False, False]
    assert list(added[0].causes) == ["Service/shop/c"]
    assert added[0].observed == 5.0
    assert added[0].change + 7 == removed[0].change == source.change
    assert {row.version for row in added[0].rows} == {added[0].change}
    replicate(replica, added + removed)
    assert replica == contents(source.mesh)
    assert [update.sequence for update in snapshot + added + removed] == [1, 2, 3]


async def test_a_row_says_in_which_change_it_last_moved() -> None:
    feed = Feed()
    source = Source(feed)
    source.add("a")
    first = source.change
    source.add("b")
    (snapshot,) = await whole(feed.follow())
    versions = {row.key: row.version for row in snapshot.rows if row.type == Table.SERVICE}
    assert versions == {
        "shop/a.shop.svc.cluster.local": first,
        "shop/b.shop.svc.cluster.local": first + 7,
    }


async def test_nothing_is_sent_before_the_first_load() -> None:
    feed = Feed()
    updates = feed.follow()
    waiting = asyncio.ensure_future(anext(updates))  # noqa: TID251 - awaited below
    await asyncio.sleep(0)
    assert not waiting.done()
    assert not feed.loaded
    Source(feed).add("a")
    assert (await waiting).snapshot


async def test_large_snapshots_and_changes_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MESSAGE_BYTES", 1_000)
    feed = Feed()
    source = Source(feed)
    source.add(*(f"a{index}" for index in range(50)))
    replica: dict[Key, object] = {}
    updates = feed.follow()
    snapshot = await whole(updates)
    assert len(snapshot) > 3
    replicate(replica, snapshot)
    source.add(*(f"b{index}" for index in range(50)))
    change = await whole(updates)
    assert len(change) > 3
    assert len({update.change for update in change}) == 1
    replicate(replica, change)
    assert replica == contents(source.mesh)


async def test_a_change_during_the_snapshot_comes_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "MESSAGE_BYTES", 100)
    feed = Feed()
    source = Source(feed)
    source.add("a", "b", "c")
    replica: dict[Key, object] = {}
    updates = feed.follow()
    first = await anext(updates)
    assert first.more
    source.remove("a")
    replicate(replica, [first, *await whole(updates)])
    assert len([key for key in replica if key.table is Table.SERVICE]) == 3
    replicate(replica, await whole(updates))
    assert replica == contents(source.mesh)


async def test_who_does_not_keep_up_has_to_subscribe_again_and_nobody_else() -> None:
    feed = Feed(max_pending=2)
    source = Source(feed)
    source.add("a")
    slow, quick = feed.follow(), feed.follow()
    await whole(slow)
    await whole(quick)
    for name in ("b", "c", "d"):
        source.add(name)
        await whole(quick)
    with pytest.raises(FellBehindError):
        await whole(slow)
    replica: dict[Key, object] = {}
    replicate(replica, await whole(feed.follow()))
    assert replica == contents(source.mesh)


async def test_what_changes_no_row_is_not_sent() -> None:
    feed = Feed()
    source = Source(feed)
    source.add("a")
    updates = feed.follow()
    await whole(updates)
    source.add("a")
    source.add("b")
    (update,) = await whole(updates)
    assert list(update.causes) == ["Service/shop/b"]
