"""The push loop on a virtual clock: who is offered what, and in which order."""

import asyncio
from collections.abc import Callable, Iterable

from libs.model.delta import Delta
from libs.model.ids import Ref
from libs.model.mesh import Key, Mesh
from libs.proxy.scope import ProxyScope
from libs.runtime.tasks import background
from libs.xds.stream.delta import DeltaSession
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, ResourceSet, resource_set
from services.config_push.connection import Connection, Peer
from services.config_push.plane import Plane
from services.config_push.push import BATCH, InlineWorker
from tests.support.clock import VirtualClock, settle
from tests.support.mesh import endpoints, mesh, peer_policy, port, row_key, service, workload
from tests.support.push_plane import identity, node
from tests.support.snapshots import item

WEB = service("web", port(80))
WEB_CLUSTER = f"outbound|80||{WEB.host}"


def _clusters(scope: ProxyScope) -> ResourceSet:
    names = [one.service.name for one in scope.outbound.services]
    return resource_set(CLUSTER, [item(CLUSTER, name) for name in names])


def _endpoints(scope: ProxyScope) -> ResourceSet:
    made = [
        item(ENDPOINT, name, ",".join(one.address for one in scoped.endpoints))
        for name, scoped in scope.endpoints.items()
    ]
    return resource_set(ENDPOINT, made)


def _listeners(scope: ProxyScope) -> ResourceSet:
    mode = scope.inbound.mode
    return resource_set(LISTENER, [item(LISTENER, "inbound", mode)])


def _routes(scope: ProxyScope) -> ResourceSet:
    return resource_set(ROUTE, [item(ROUTE, one.name) for one in scope.outbound.routings])


GENERATORS = {
    CLUSTER: _clusters,
    ENDPOINT: _endpoints,
    LISTENER: _listeners,
    ROUTE: _routes,
}


class SlowWorker:
    """Works only when it is let."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(0)

    def let(self, times: int = 1) -> None:
        for _ in range(times):
            self._turns.release()

    async def __call__(self, work: Callable[[], object]) -> object:
        await self._turns.acquire()
        return work()


class Bench:
    """A plane whose connections are never written to: what they are offered is looked at."""

    def __init__(self, worker: object | None = None) -> None:
        self.clock = VirtualClock()
        self.plane = Plane(GENERATORS, clock=self.clock, worker=worker or InlineWorker())  # type: ignore[arg-type]
        self.mesh = Mesh()
        self.changes = 0

    def connect(self, name: str, namespace: str = "shop") -> Connection:
        made = node(name, namespace)
        peer = Peer(identity(namespace), "", node_id=made.id, metadata={})
        session = DeltaSession(self.plane.responses)
        connection = Connection(
            self.plane.connections.next_number(), peer, session, clock=self.clock
        )
        self.plane.connections.add(connection)
        self.plane.connect(connection)
        return connection

    def change(self, *rows: object, removed: Iterable[Key] = ()) -> int:
        self.changes += 1
        keys = {row_key(row) for row in rows}  # type: ignore[arg-type]
        self.mesh = mesh(*rows, before=self.mesh).evolve((key, None) for key in removed)  # type: ignore[arg-type]
        causes = (Ref(f"Test/x/{self.changes}"),)
        delta = Delta(frozenset(keys), frozenset(removed), causes, self.changes, self.clock.now())
        self.plane.change(self.mesh, delta)
        return self.changes


def _push(connection: Connection) -> int:
    return connection.offered.push if connection.offered else 0


async def test_a_lone_change_is_offered_at_once() -> None:
    bench = Bench()
    async with background(bench.plane.pusher.run()):
        proxy = bench.connect("a")
        bench.change(WEB)
        await settle()
        assert set(proxy.before[CLUSTER].resources) == {"web"}

        bench.change(service("db"))
        await settle()
        assert set(proxy.before[CLUSTER].resources) == {"web", "db"}
    assert bench.clock.monotonic() == 0.0


async def test_changes_during_a_round_are_merged_into_the_next() -> None:
    worker = SlowWorker()
    bench = Bench(worker)
    async with background(bench.plane.pusher.run()):
        bench.change(WEB)
        await settle()
        proxy = bench.connect("a")
        await settle()
        worker.let(2)  # one for what others have made
        await settle()
        assert _push(proxy) == 1
        for number in range(5):
            bench.change(service(f"s{number}"))
        await settle()
        assert _push(proxy) == 1
        worker.let(1)
        await settle()

    assert _push(proxy) == 2
    assert len(proxy.before[CLUSTER].resources) == 6
    assert [receipt.change for receipt in bench.plane.book.receipts()] == [1, 2, 3, 4, 5, 6]


async def test_a_new_proxy_overtakes_refreshes() -> None:
    worker = SlowWorker()
    bench = Bench(worker)
    async with background(bench.plane.pusher.run()):
        bench.change(WEB)
        old = [bench.connect(f"old{number}") for number in range(3)]
        worker.let(2)
        await settle()
        bench.change(service("db"))
        fresh = bench.connect("fresh")
        await settle()
        worker.let(2)
        await settle()
        assert _push(fresh) == 2
        assert [_push(one) for one in old] == [1, 1, 1]
        worker.let(1)
        await settle()
        assert [_push(one) for one in old] == [2, 2, 2]


async def test_endpoints_overtake_configuration_that_still_waits() -> None:
    worker = SlowWorker()
    bench = Bench(worker)
    async with background(bench.plane.pusher.run()):
        bench.change(WEB, endpoints(WEB, "10.0.0.1"))
        proxies = [bench.connect(f"p{number}") for number in range(BATCH * 2)]
        worker.let(4)
        await settle()
        bench.change(service("db"))
        await settle()
        bench.change(endpoints(WEB, "10.0.0.2"))
        worker.let(3)  # half of the configuration, then all of the endpoints
        await settle()
        last = proxies[-1]
        assert "db" not in last.before[CLUSTER].resources
        assert b"10.0.0.2" in last.before[ENDPOINT].resources[WEB_CLUSTER].body
        worker.let(1)
        await settle()
        assert "db" in last.before[CLUSTER].resources


async def test_an_endpoint_that_changes_who_is_trusted_brings_configuration_too() -> None:
    bench = Bench()
    async with background(bench.plane.pusher.run()):
        bench.change(WEB, endpoints(WEB, "10.0.0.1"))
        proxy = bench.connect("a")
        await settle()
        digest = proxy.digest
        bench.change(endpoints(WEB, "10.0.0.1", service_account="other"))
        await settle()

    assert proxy.digest != digest
    assert proxy.offered is not None
    assert proxy.offered.whole


async def test_equal_workloads_are_one_class_and_share_their_sets() -> None:
    bench = Bench()
    async with background(bench.plane.pusher.run()):
        pods = [workload(f"p{number}", workload_name="web") for number in range(3)]
        bench.change(WEB, *pods)
        proxies = [bench.connect(f"p{number}") for number in range(3)]
        await settle()

    assert len({one.digest for one in proxies}) == 1
    assert len({id(one.before[CLUSTER]) for one in proxies}) == 1


async def test_a_type_that_a_change_cannot_touch_stays_the_same_object() -> None:
    bench = Bench()
    async with background(bench.plane.pusher.run()):
        bench.change(WEB)
        proxy = bench.connect("a")
        await settle()
        before = dict(proxy.before)
        bench.change(peer_policy("strict", mode="STRICT"))
        await settle()

    assert proxy.before[LISTENER] is not before[LISTENER]
    assert proxy.before[ROUTE] is before[ROUTE]


async def test_a_pod_seen_after_its_proxy_connected_gives_it_its_inbound_configuration() -> None:
    bench = Bench()
    async with background(bench.plane.pusher.run()):
        bench.change(WEB, peer_policy("strict", mode="STRICT", selector={"app": "web"}))
        proxy = bench.connect("web-1")
        await settle()
        before = proxy.before[LISTENER]
        bench.change(workload("web-1", labels={"app": "web"}))
        await settle()

    assert b"STRICT" not in before.resources["inbound"].body
    assert b"STRICT" in proxy.before[LISTENER].resources["inbound"].body


async def test_who_leaves_is_not_worked_for() -> None:
    worker = SlowWorker()
    bench = Bench(worker)
    async with background(bench.plane.pusher.run()):
        bench.change(WEB)
        proxy = bench.connect("a")
        bench.plane.connections.remove(proxy)
        bench.plane.disconnect(proxy)
        await settle()
        assert bench.plane.pusher.waiting == 0
        other = bench.connect("b")
        worker.let(2)
        await settle()
        assert _push(other) == 1
    assert _push(proxy) == 0
