"""Three replicas of the CA as processes; the leader is stopped: nobody writes over anybody.

Who wrote what is read from the API server's audit log: each replica has its own account.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.kube.client import Client
from tests.support import kube_accounts as kube
from tests.support import kube_apiserver
from tests.support.ca_replicas import CLOCK, POLICY, has_map, leader, replicas, writer, writes
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_ca import SYSTEM


@pytest.fixture(name="folder")
def audited_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "api"
    folder.mkdir()
    return folder


@pytest.fixture(name="server")
def api_server(folder: Path) -> Iterator[ApiServer]:
    with kube_apiserver.running(folder, POLICY) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await kube.namespace(client, SYSTEM)
        yield client


async def test_a_leader_that_was_stopped_writes_nothing_when_it_wakes_up(
    client: Client, server: ApiServer, folder: Path
) -> None:
    async with replicas(client, server, folder) as running:
        holder = await leader(client)
        first = await writer(client, folder, "before")
        running[first].send_signal(signal.SIGSTOP)
        stopped = CLOCK.monotonic()
        await kube.namespace(client, "meanwhile")
        await has_map(client, "meanwhile")
        failover = CLOCK.monotonic() - stopped
        assert await leader(client, other_than=holder)
        for number in range(20):
            await kube.namespace(client, f"during-{number}")
        running[first].send_signal(signal.SIGCONT)
        for number in range(20):
            await kube.namespace(client, f"after-{number}")
        await asyncio.gather(*(has_map(client, f"after-{number}") for number in range(20)))
        second = await writer(client, folder, "last")
        await CLOCK.sleep(3)  # what the old one would write it would have written by now
        found = writes(folder)
    began = next(write.at for write in found if write.by == second)
    late = [write for write in found if write.by != second and write.at > began]
    twice = len(found) - len({write.namespace for write in found})
    sys.stdout.write(
        f"leaders: {len(found)} writes by {len({it.by for it in found})} leaders, failover "
        f"{failover:.1f} s after SIGSTOP, writes of the stopped one after its successor's first = "
        f"{len(late)}, namespaces written twice = {twice}\n"
    )
    assert second != first
    assert late == []
    assert twice == 0


async def test_a_leader_that_ends_is_followed_at_once(
    client: Client, server: ApiServer, folder: Path
) -> None:
    async with replicas(client, server, folder) as running:
        first = await writer(client, folder, "before")
        running[first].send_signal(signal.SIGTERM)
        ended = CLOCK.monotonic()
        await asyncio.to_thread(running[first].wait, 60)  # it may write until it lets go
        second = await writer(client, folder, "after")
        seconds = CLOCK.monotonic() - ended
    sys.stdout.write(f"leaders: next one wrote {seconds:.1f} s after SIGTERM\n")
    assert second != first
