"""Leaders: three replicas of the CA, and everything that can happen to the one that leads.

Who wrote what is read from the API server's audit log. Each replica reaches the API server through
a gate, where its requests can be made slow.
"""

import asyncio
import signal
import subprocess
from pathlib import Path

from libs.kube.client import Client
from libs.kube.lease import Lease
from libs.runtime.clock import SystemClock
from services.ca.cluster import LEASE
from tests.faults.figures import CLOCK, Figure, Length, Note
from tests.support import kube_accounts as kube
from tests.support.ca_replicas import (
    LEASES,
    POLICY,
    has_map,
    leader,
    replicas,
    writer,
    writes,
)
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import SYSTEM
from tests.support.tcp_gate import Gate, gate

RECIPE = "a leader"
SLOW_SECONDS = 3.0
SKEWS = {"now": 0.0, "a day late": -25 * 3600.0, "ten minutes early": 600.0}


async def measure(folder: Path, length: Length, note: Note) -> None:
    """Stop leaders, slow them down, delete their lease, and give them wrong clocks."""
    api = folder / "api"
    api.mkdir()
    with running(api, POLICY) as server:
        async with kube.client_of(server, folder) as client, gate(server.port) as before:
            await kube.namespace(client, SYSTEM)
            behind = ApiServer(before.port, server.token, server.authority)
            async with replicas(client, behind, api) as processes:
                first = await writer(client, api, "first")
                await _stopped(
                    client, api, note, processes[first], stopped=first, seconds=length.stopped
                )
                await _slow(client, api, note, before, seconds=length.stopped)
                await _deleted(client, api, note)
            await _skewed(client, note)


async def _stopped(
    client: Client,
    api: Path,
    note: Note,
    process: subprocess.Popen[bytes],
    *,
    stopped: str,
    seconds: float,
) -> None:
    known = len(writes(api))
    process.send_signal(signal.SIGSTOP)
    started = CLOCK.monotonic()
    await kube.namespace(client, "stopped")
    failover = await has_map(client, "stopped")
    await CLOCK.sleep(max(seconds - (CLOCK.monotonic() - started), 0.0))
    process.send_signal(signal.SIGCONT)
    for number in range(20):
        await kube.namespace(client, f"woken-{number}")
    for number in range(20):
        await has_map(client, f"woken-{number}")
    await CLOCK.sleep(5)  # what the old one would write it would have written by now
    found = writes(api)[known:]
    late = sum(it.by == stopped for it in found)
    twice = len(found) - len({it.namespace for it in found})
    value = (
        f"the next one wrote after {failover:.1f} s; {len(found)} writes since, "
        f"by the one that was woken {late}, of a namespace twice {twice}"
    )
    name = f"stopped for {seconds:.0f} s (SIGSTOP), then woken"
    note(Figure(RECIPE, name, value, not late and not twice))


async def _slow(client: Client, api: Path, note: Note, before: Gate, *, seconds: float) -> None:
    """Have all answers come three seconds late."""
    holder, known = await leader(client), len(writes(api))
    before.latency = SLOW_SECONDS / 2
    until = CLOCK.monotonic() + seconds
    holders, number = set(), 0
    while CLOCK.monotonic() < until:
        await kube.namespace(client, f"slow-{number}")
        await has_map(client, f"slow-{number}")
        holders.add(await leader(client))
        number += 1
    before.latency = 0.0
    found = writes(api)[known:]
    twice = len(found) - len({it.namespace for it in found})
    kept = holders == {holder}
    value = f"led on: {'yes' if kept else 'no'}; {number} namespaces served, twice: {twice}"
    note(Figure(RECIPE, f"answers {SLOW_SECONDS:.0f} s late for {seconds:.0f} s", value, not twice))


async def _deleted(client: Client, api: Path, note: Note) -> None:
    """Delete the lease five times."""
    known, took = len(writes(api)), []
    for number in range(5):
        await leader(client)
        await client.request("DELETE", f"{LEASES}/{LEASE}")
        started = CLOCK.monotonic()
        await leader(client)
        took.append(CLOCK.monotonic() - started)
        await kube.namespace(client, f"deleted-{number}")
        await has_map(client, f"deleted-{number}")
    found = writes(api)[known:]
    twice = len(found) - len({it.namespace for it in found})
    value = f"there again after {max(took):.1f} s at most, namespaces written twice: {twice}"
    note(Figure(RECIPE, "the lease deleted, five times", value, not twice))


class Skewed(SystemClock):
    """A machine whose wall clock is wrong."""

    def __init__(self, by: float) -> None:
        self._by = by

    def now(self) -> float:
        return super().now() + self._by


async def _skewed(client: Client, note: Note) -> None:
    """Lead by turns, each with another idea of what time it is."""
    most, leading, gaps = 0, set[str](), []
    ended = CLOCK.monotonic()

    async def lead(name: str, turn: asyncio.Event) -> None:
        nonlocal most, ended
        own = Lease(client, SYSTEM, "skewed", holder=name, clock=Skewed(SKEWS[name]))
        async with own.leading():
            leading.add(name)
            most = max(most, len(leading))
            gaps.append(CLOCK.monotonic() - ended)
            turn.set()
            await asyncio.sleep(4)
        leading.discard(name)
        ended = CLOCK.monotonic()

    for _ in range(2):
        turns = [asyncio.Event() for _ in SKEWS]
        async with asyncio.TaskGroup() as group:
            for name, turn in zip(SKEWS, turns, strict=True):
                group.create_task(lead(name, turn))
    value = f"{len(gaps)} turns, leaders at once {most}, longest time without one {max(gaps):.1f} s"
    note(Figure(RECIPE, f"clocks: {', '.join(SKEWS)}", value, most == 1))
