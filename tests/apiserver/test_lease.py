"""Leases against a real API server: never two leaders, and the next one in time."""

import asyncio
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.kube.client import Client
from libs.kube.errors import LeaseLostError
from libs.kube.lease import Lease, Terms
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running

CLOCK = SystemClock()
PATIENT = Terms(duration=30.0, deadline=20.0, retry=0.1)
QUICK = Terms(duration=1.0, deadline=0.7, retry=0.1)
PATH = "/apis/coordination.k8s.io/v1/namespaces/mesh/leases"


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await kube.namespace(client, "mesh")
        yield client


def lease(client: Client, name: str, holder: str, terms: Terms = QUICK) -> Lease:
    return Lease(client, "mesh", name, holder=holder, clock=CLOCK, terms=terms)


class Ledger:
    """Who led when."""

    def __init__(self) -> None:
        self.leaders: set[str] = set()
        self.most = 0
        self.turns: list[str] = []
        self.changed = asyncio.Event()

    async def work(self, name: str) -> None:
        self.leaders.add(name)
        self.turns.append(name)
        self.most = max(self.most, len(self.leaders))
        self.changed.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leaders.discard(name)

    async def turn(self) -> str:
        """Return who leads next."""
        async with asyncio.timeout(60):
            await self.changed.wait()
        self.changed.clear()
        return self.turns[-1]


async def test_one_of_three_leads_and_another_follows_at_once(client: Client) -> None:
    ledger = Ledger()

    def leads(name: str) -> Coroutine[Any, Any, None]:
        return lease(client, "order", name).lead(lambda: ledger.work(name))

    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(leads(name)) for name in ("a", "b", "c")}
        first = await ledger.turn()
        started = CLOCK.monotonic()
        tasks.pop(first).cancel()
        second = await ledger.turn()
        seconds = CLOCK.monotonic() - started
        for task in tasks.values():
            task.cancel()
    sys.stdout.write(f"lease: released, next leader after {seconds:.2f} s\n")
    assert second != first
    assert ledger.most == 1


async def test_a_silent_leader_stops_before_it_is_replaced(client: Client) -> None:
    deaf = _Deaf()
    old = Lease(deaf.over(client), "mesh", "deaf", holder="old", clock=CLOCK, terms=QUICK)
    stopped: list[float] = []

    async def lead_and_go_deaf() -> None:
        try:
            async with old.leading():
                deaf.deaf = True
                await asyncio.Event().wait()
        except* LeaseLostError:
            stopped.append(CLOCK.monotonic())

    async with asyncio.TaskGroup() as group:
        group.create_task(lead_and_go_deaf())
        while not deaf.deaf:
            await CLOCK.sleep(0)
        async with asyncio.timeout(60), lease(client, "deaf", "new").leading():
            begun = CLOCK.monotonic()
    sys.stdout.write(f"lease: the silent one stopped {begun - stopped[0]:.2f} s before the next\n")
    assert stopped[0] < begun
    with pytest.raises(LeaseLostError):
        old.check()


class _Deaf:
    """A client whose answers stop."""

    def __init__(self) -> None:
        self.deaf = False

    def over(self, client: Client) -> Client:
        outer = self

        class Wrapped(Client):
            def __init__(self) -> None:
                pass

            async def request(self, *arguments: object, **options: object) -> object:
                if outer.deaf:
                    await asyncio.Event().wait()
                return await client.request(*arguments, **options)  # type: ignore[arg-type]

            async def get(self, path: str, params: object = None) -> object:
                return await self.request("GET", path)

        return Wrapped()


async def test_a_deleted_lease_is_made_again(client: Client) -> None:
    async with lease(client, "gone", "a", PATIENT).leading():
        await client.request("DELETE", f"{PATH}/gone")
        async with asyncio.timeout(60):
            while True:
                try:
                    found = await client.get(f"{PATH}/gone")
                except Exception:  # noqa: BLE001  # not there yet
                    await CLOCK.sleep(0.05)
                    continue
                break
    assert found["spec"]["holderIdentity"] == "a"


async def test_a_wrong_clock_in_the_object_means_nothing(client: Client) -> None:
    """The times in a Lease are another machine's: only that they change counts."""
    body = {
        "metadata": {"name": "skewed"},
        "spec": {
            "holderIdentity": "gone",
            "leaseDurationSeconds": 1,
            "renewTime": "2090-01-01T00:00:00.000000Z",
        },
    }
    await client.request("POST", PATH, body=body)
    started = CLOCK.monotonic()
    async with asyncio.timeout(60), lease(client, "skewed", "a").leading():
        waited = CLOCK.monotonic() - started
    assert waited >= 1.0


async def test_work_beside_the_lease_ends_with_it(client: Client) -> None:
    ledger = Ledger()
    async with background(lease(client, "end", "a").lead(lambda: ledger.work("a"))):
        await ledger.turn()
        assert ledger.leaders == {"a"}
    assert not ledger.leaders
