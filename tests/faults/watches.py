"""Watches: everything that goes wrong between a follower and its API server."""

import json
import random
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from libs.kube.client import Client
from libs.kube.follow import Happening, Patience
from tests.faults.figures import CLOCK, Figure, Length, Note
from tests.support.kube_accounts import client_of
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_follow import Seen, following
from tests.support.kube_machine import Machine, machine
from tests.support.kube_maps import PATH, agree, change, delete, fill, put, there
from tests.support.kube_proxy import Proxy, is_following_page, is_list, is_watch, running, through
from tests.support.tcp_gate import gate

RECIPE = "a watch"
USUAL = Patience(count=3600, refresh=3600)
"""Without what would find a fault out by other means."""
OLD = b'{"type":"MODIFIED","object":{"metadata":{"name":"m1","namespace":"default",'
OLD += b'"resourceVersion":"1"}}}'


class Fault(Struct, frozen=True):
    """Something that a server, or what is before it, does to a stream."""

    name: str
    happens: Callable[[Proxy], object]
    lists: int = 0
    """How many lists it leads to."""
    ends: bool = True
    """Whether the stream is another one afterwards."""


FAULTS = (
    Fault("the stream ends", lambda it: it.cut()),
    Fault("it ends within an event", lambda it: it.cut(inside=True)),
    Fault("410 when it is resumed", lambda it: (it.answer(is_watch, 410), it.cut()), 1),
    Fault("410 on the second page, too", lambda it: _two(it, 410, is_watch, is_following_page), 1),
    Fault("500 when it is resumed", lambda it: (it.answer(is_watch, 500), it.cut())),
    Fault("429, later by 1 s", lambda it: (it.answer(is_watch, 429, retry_after=1), it.cut())),
    Fault("503 on a list, 410 when resumed", lambda it: _two(it, 503, is_watch, is_list), 1),
    Fault("half a line", lambda it: it.inject(b"{")),
    Fault("an event comes again", lambda it: it.repeat(), ends=False),
    Fault("an event of the past", lambda it: it.inject(OLD), 1),
)


def _two(proxy: Proxy, status: int, *fits: Callable[..., bool]) -> None:
    proxy.answer(fits[0], 410)
    proxy.answer(fits[1], status)
    proxy.cut()


async def measure(folder: Path, length: Length, note: Note) -> None:
    """Do everything to one follower, and then be silent for long."""
    patience = replace(USUAL, session=4, silence=6.0) if length.quick else USUAL
    with machine(folder) as kubernetes:
        async with client_of(kubernetes.server, folder) as admin:
            await fill(admin, 600)
            async with (
                running(kubernetes.server) as proxy,
                Client(through(proxy, folder)) as client,
                following(
                    client,
                    patience=replace(patience, page=200),
                    seconds=3 * length.silent + 600,
                ) as (seen, _),
            ):
                for fault in FAULTS:
                    await _one(fault, proxy, seen, admin=admin, note=note)
                await _thousand(proxy, seen, admin, note=note)
                await _silent(proxy, seen, admin, note=note, seconds=length.silent)
            await _swallowed(kubernetes, folder, admin, length=length, note=note, patience=patience)
        await _forgotten(kubernetes, folder, note, patience=patience)


async def _one(fault: Fault, proxy: Proxy, seen: Seen, *, admin: Client, note: Note) -> None:
    await proxy.opened()
    listed, watched = seen.happened[Happening.LISTED], seen.happened[Happening.WATCHED]
    started = CLOCK.monotonic()
    fault.happens(proxy)
    if fault.ends:
        await seen.until(lambda: seen.happened[Happening.WATCHED] > watched, 120)
    await put(admin, "after", fault.name)
    await agree(seen, admin, 120)
    if fault.lists:
        await seen.until(lambda: seen.happened[Happening.LISTED] > listed, 120)
    took = CLOCK.monotonic() - started
    lists = seen.happened[Happening.LISTED] - listed
    value = f"in step after {took:.1f} s, lists {lists}"
    note(Figure(RECIPE, fault.name, value, lists <= 1))


async def _thousand(proxy: Proxy, seen: Seen, admin: Client, *, note: Note) -> None:
    """Change a thousand objects, with a fault every 25."""
    chance = random.Random(5)  # noqa: S311  # the same each time
    for number in range(1000):
        if number % 25 == 0:
            chance.choice(FAULTS).happens(proxy)
        await change(admin, f"m{chance.randrange(700)}", chance)
    proxy.relent()
    await agree(seen, admin, 120)
    wanted = await there(admin)
    missed, phantom = wanted.keys() - seen.data.keys(), seen.data.keys() - wanted.keys()
    value = f"missed {len(missed)}, phantom {len(phantom)} of 1000 changes"
    note(Figure(RECIPE, "40 of these faults by chance", value, not missed and not phantom))


async def _silent(proxy: Proxy, seen: Seen, admin: Client, *, note: Note, seconds: float) -> None:
    """Every stream that there is says nothing for ever; new ones do."""
    broken = seen.happened[Happening.BROKEN]
    await proxy.opened(60)
    proxy.silence()
    started = CLOCK.monotonic()
    await put(admin, "unheard", "1")
    await seen.until(lambda: seen.happened[Happening.BROKEN] > broken, 200)
    noticed = CLOCK.monotonic() - started
    await agree(seen, admin, 120)
    took = CLOCK.monotonic() - started
    await CLOCK.sleep(max(seconds - took, 0.0))
    await put(admin, "later", "1")
    await agree(seen, admin, 120)
    value = f"noticed after {noticed:.1f} s, in step after {took:.1f} s"
    note(Figure(RECIPE, f"silent and half open for {seconds:.0f} s", value))


async def _swallowed(
    kubernetes: Machine,
    folder: Path,
    admin: Client,
    *,
    length: Length,
    note: Note,
    patience: Patience,
) -> None:
    """The network swallows everything, in both directions."""
    async with gate(kubernetes.server.port) as before:
        server = ApiServer(before.port, kubernetes.server.token, kubernetes.server.authority)
        async with (
            client_of(server, folder) as client,
            following(client, patience=patience, seconds=3 * length.silent + 600) as (seen, _),
        ):
            before.hold()
            started = CLOCK.monotonic()
            await put(admin, "swallowed", "1")
            await seen.until(lambda: seen.happened[Happening.BROKEN] > 0, 200)
            noticed = CLOCK.monotonic() - started
            await CLOCK.sleep(max(length.silent - noticed, 0.0))
            before.release()
            started = CLOCK.monotonic()
            await agree(seen, admin, 120)
            took = CLOCK.monotonic() - started
    value = f"noticed after {noticed:.1f} s, in step {took:.1f} s after its end"
    note(Figure(RECIPE, f"the network swallows everything for {length.silent:.0f} s", value))


async def _forgotten(kubernetes: Machine, folder: Path, note: Note, *, patience: Patience) -> None:
    """Have etcd forget all history while the API server is away."""
    async with (
        client_of(kubernetes.server, folder) as client,
        following(client, patience=patience, seconds=600) as (
            seen,
            follower,
        ),
    ):
        version = follower._version
        kubernetes.stop_apiserver()
        kubernetes.start_apiserver()
        async with client_of(kubernetes.server, folder) as again:
            await put(again, "forgotten", "1")
            await delete(again, "forgotten")
        kubernetes.compact()
        kubernetes.stop_apiserver()
        kubernetes.start_apiserver()
        gone = await _status_of_watch(kubernetes, version, folder)
        started = CLOCK.monotonic()
        async with client_of(kubernetes.server, folder) as again:
            await agree(seen, again, 120)
        took = CLOCK.monotonic() - started
    value = f"in step {took:.1f} s after the API server was back (its history: {gone})"
    note(Figure(RECIPE, "a compaction while it was away", value, gone == 410))


async def _status_of_watch(kubernetes: Machine, version: str, folder: Path) -> int:
    async with client_of(kubernetes.server, folder) as client:
        params = {"watch": "1", "resourceVersion": version, "timeoutSeconds": 5}
        async with aclosing(client.stream(PATH, params, silence=10)) as chunks:
            async for chunk in chunks:
                return int(json.loads(chunk)["object"].get("code", 200))
    return 0
