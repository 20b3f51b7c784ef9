"""Run: the requests of one row, from its words to an outcome that can be judged."""

import asyncio
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from libs.pki import jwk, tokens
from tests.support.behaviour import spans
from tests.support.behaviour.asking import Answer, Call, ask
from tests.support.behaviour.fleet import ISTIO_ALPN, Fleet
from tests.support.behaviour.tables import Row
from tests.support.behaviour.verdict import Outcome, Samples, judge, samples, soon, total, within
from tests.support.behaviour.wire import Seen
from tests.support.behaviour.world import PROXY_PORT
from tests.support.tokens import algorithm_none, hs256_with_the_public_key

_ASK = re.compile(
    r"(?P<method>[A-Z]+) (?P<tls>https://)?(?P<host>[^/:]*)(?::(?P<port>\d+))?(?P<path>.*)"
)
_PLAIN_PORT, _TLS_PORT = 8080, 8443
_PROXIED_PORT = 80  # not for everybody to listen on: the sidecar is asked as an HTTP proxy
_BEHIND = {"web-v1", "web-v2"}


class Target(Struct, frozen=True):
    """Where a row's requests go first, and what they ask for."""

    address: tuple[str, int]
    method: str = "GET"
    host: str = ""
    path: str = "/"
    tls: bool = False
    text: str = ""


async def verdict(fleet: Fleet, row: Row) -> list[str]:
    """Return how a row's outcome differs from what it expects."""
    target = _target(fleet, row)
    before = {place: await _page(fleet, place) for place in {one.at for one in row.counted}}
    marks = {place: fleet.log(place).size() for place in fleet.envoys}
    numbers = [str(next(fleet.numbers)) for _ in range(row.times)]
    started = time.monotonic()
    answers = await _all(fleet, row, target=target, numbers=numbers)
    seconds = time.monotonic() - started
    seen = await _arrived(fleet, row, numbers)
    silence = await _silence(fleet, row, seen)
    first = _first_envoy(row)
    worst = max(range(row.times), key=lambda index: answers[index].status)
    number = numbers[worst]
    log: Mapping[str, Any] = {}
    server_log: Mapping[str, Any] = {}
    if row.logged or row.flags:
        log = await fleet.log(first).of(number, answers[worst].port, since=marks[first])
    if row.server_logged or row.server_flags:
        port = answers[worst].port if first == row.to else 0
        server_log = await fleet.log(row.to).of(number, port, since=marks[row.to])
    outcome = Outcome(
        answers=answers,
        seen=seen,
        seconds=seconds,
        log=log,
        server_log=server_log,
        silence=silence,
    )
    told = [*_unlogged(fleet, row, number=number, since=marks)]
    told += [*await _counted(fleet, row, before), *await _exported(fleet, row)]
    told += await _traced(fleet, row, target.path.partition("?")[0])
    return [*judge(row, outcome), *told]


def _first_envoy(row: Row) -> str:
    return {"outside": "gateway", "neighbour": row.to}.get(row.source, row.source)


def _target(fleet: Fleet, row: Row) -> Target:
    if row.send:
        where, _, text = row.send.partition(" ")
        host, _, written = where.partition(":")
        return Target(
            _address(fleet, row, int(written)), host=host, tls=bool(row.proving), text=text
        )
    found = _ASK.fullmatch(fleet.place.local(row.ask))
    assert found is not None, row.ask
    tls = bool(found["tls"])
    port = int(found["port"] or (_TLS_PORT if tls else _PLAIN_PORT))
    tls = tls or (row.source == "neighbour" and bool(row.proving))
    return Target(
        _address(fleet, row, port), found["method"], found["host"], found["path"] or "/", tls
    )


def _address(fleet: Fleet, row: Row, port: int) -> tuple[str, int]:
    if row.source == "program":
        return "", port  # it finds pods by itself
    if row.dial:
        address, _, number = fleet.place.local(row.dial).partition(":")
        return address, int(number)
    if row.source == "outside":
        return fleet.place.address("gateway"), port
    if row.source == "neighbour":
        return fleet.place.address(row.to), port
    return fleet.place.address(row.source, 3), PROXY_PORT if port == _PROXIED_PORT else port


async def _all(fleet: Fleet, row: Row, *, target: Target, numbers: Sequence[str]) -> list[Answer]:
    if row.source == "program":
        by = row.by if isinstance(row.by, str) else row.by[0]
        await fleet.program.until(by, row.headers)
        return [await fleet.program.call({**row.headers, "x-row": it}) for it in numbers]
    calls = [_call(fleet, row, target=target, number=number) for number in numbers]
    if row.together:
        start = asyncio.Barrier(len(calls))
        return list(await asyncio.gather(*(ask(call, start) for call in calls)))
    return [await _later(row.pause if index else 0, call) for index, call in enumerate(calls)]


async def _later(pause: float, call: Call) -> Answer:
    await asyncio.sleep(pause)
    return await ask(call)


def _call(fleet: Fleet, row: Row, *, target: Target, number: str) -> Call:
    token = _token(fleet, row.token)
    headers = {"host": target.host, "x-row": number}
    for name, value in row.headers.items():
        headers[name] = fleet.place.local(value).replace("#", number).replace("@token@", token)
    if token and not any("@token@" in text for text in (row.ask, *row.headers.values())):
        headers["authorization"] = f"Bearer {token}"
    alpn = tuple(row.alpn) or _alpn(row)
    return Call(
        address=target.address,
        over="tcp" if row.send else row.over,
        method=target.method,
        path=target.path.replace("@token@", quote(token)),
        headers=headers,
        body=(target.text.encode() if row.send else row.body.encode()),
        preface=row.preface,
        cut=row.cut,
        kept=row.kept,
        tls=fleet.client(row.proving, alpn, row.tls_version) if target.tls else None,
        server_name=row.server_name or ("" if row.source == "neighbour" else target.host),
    )


def _alpn(row: Row) -> tuple[str, ...]:
    if row.source == "neighbour":
        kinds = {
            "h1": ISTIO_ALPN,
            "h2": ("istio-h2", "istio", "h2"),
            "grpc": ("istio-h2", "istio", "h2"),
        }
        return ("istio-peer-exchange", "istio") if row.send else kinds[row.over]
    return ("http/1.1",) if row.over == "h1" else ("h2",)


def _token(fleet: Fleet, claims: Mapping[str, object] | None) -> str:
    if claims is None:
        return ""
    written = {"iss": "https://issuer.example.com", "sub": "ann", "exp": 4_000_000_000, **claims}
    key = written.pop("key", "")
    named = {name: value for name, value in written.items() if value is not None}
    if key == "stranger":
        return tokens.sign(named, fleet.keys.forger)
    token, public = tokens.sign(named, fleet.keys.issuer), fleet.keys.issuer.public_key()
    if key == "none":
        return algorithm_none(token, jwk.key_id(public))
    if key == "public":
        return hs256_with_the_public_key(token, public, jwk.key_id(public))
    return token


async def _arrived(fleet: Fleet, row: Row, numbers: Sequence[str]) -> list[Seen]:
    """Return what applications got; what a row waits for may come after the answer."""

    def seen() -> list[Seen]:
        return [one for number in numbers for one in fleet.applications.got[number]]

    async def complete() -> bool:
        counts = [one.workload for one in seen()]
        return all(within(counts.count(name), wanted) for name, wanted in row.reached.items())

    if row.reached:
        await soon(complete)
    return seen()


async def _silence(fleet: Fleet, row: Row, seen: Sequence[Seen]) -> Mapping[str, float]:
    """Return how long connections were silent before they ended, by workload; the shortest."""
    watched = {it.connection: it.workload for it in seen if it.workload in row.ended}
    silence = fleet.applications.silence

    async def complete() -> bool:
        return watched.keys() <= silence.keys()

    if row.ended:
        await soon(complete)
    found: dict[str, float] = {}
    for connection, workload in watched.items():
        if connection in silence:
            found[workload] = min(silence[connection], found.get(workload, math.inf))
    return found


def _unlogged(fleet: Fleet, row: Row, *, number: str, since: Mapping[str, int]) -> Iterator[str]:
    """Yield who logged what should not be; lines are written in order."""
    for place in row.unlogged:
        if any(line["row"] == number for line in fleet.log(place).lines(since[place])):
            yield f"{place} logged it"


async def _exported(fleet: Fleet, row: Row) -> list[str]:
    """Return what the collector has not got, though it should, or has got though it should not."""

    async def found() -> bool:
        return any(all(text in line for text in row.exported) for line in fleet.collector.lines)

    if row.exported:
        await soon(found)
    wrong = [line for line in fleet.collector.lines if row.unexported and row.unexported in line]
    last = fleet.collector.lines[-3:]
    missing = [] if await found() or not row.exported else [f"not exported; at last came {last}"]
    return [*missing, *(f"exported {line}" for line in wrong)]


async def _traced(fleet: Fleet, row: Row, path: str) -> list[str]:
    """Return which spans of a request did not come."""

    async def complete() -> bool:
        return not spans.judge(row.spans, fleet.collector.spans, path)

    if row.spans:
        await soon(complete)
    return spans.judge(row.spans, fleet.collector.spans, path)


async def _page(fleet: Fleet, place: str) -> Samples:
    return samples(await fleet.envoys[place].prometheus())


async def _counted(fleet: Fleet, row: Row, before: Mapping[str, Samples]) -> list[str]:
    grown: dict[int, float] = {}

    async def complete() -> bool:
        pages = {place: await _page(fleet, place) for place in before}
        for index, one in enumerate(row.counted):
            grown[index] = total(pages[one.at], one) - total(before[one.at], one)
        return all(within(grown[index], one.by) for index, one in enumerate(row.counted))

    if row.counted:
        await soon(complete)
    return [
        f"{one.metric} of {one.at} with {dict(one.labels)} grew by {grown[index]:g}, not {one.by}"
        for index, one in enumerate(row.counted)
        if not within(grown[index], one.by)
    ]
