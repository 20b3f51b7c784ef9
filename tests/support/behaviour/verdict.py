"""Verdicts: what became of a row's requests, compared with what its table says.

A verdict is a list of sentences, one for each difference; an empty list is what everybody wants.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from tests.support.behaviour.asking import Answer
from tests.support.behaviour.tables import Count, Counted, Row
from tests.support.behaviour.wire import Seen

_SAMPLE = re.compile(r"envoy_(\w+)\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_URI = re.compile(r"(?:^|;)URI=([^;,]*)")

Samples = Mapping[str, Sequence[tuple[Mapping[str, str], float]]]


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a row's requests."""

    answers: Sequence[Answer]
    seen: Sequence[Seen]
    seconds: float
    log: Mapping[str, Any] = {}  # at the first Envoy, of the request with the highest status
    server_log: Mapping[str, Any] = {}
    silence: Mapping[str, float] = {}  # of applications' connections before they ended


def judge(row: Row, outcome: Outcome) -> list[str]:
    """Return how an outcome differs from what a row expects."""
    return [
        *_answers(row, outcome.answers),
        *_contents(row, outcome.answers),
        *_seen(row, outcome.seen),
        *_reached(row, outcome.seen),
        *_connections(row, outcome),
        *_logged(row, outcome),
        *([f"took {outcome.seconds:.3f} s"] if outcome.seconds < 0.95 * row.seconds else []),
    ]


def _answers(row: Row, answers: Sequence[Answer]) -> Iterator[str]:
    statuses = Counter(answer.status for answer in answers)
    if isinstance(row.answer, int):
        if set(statuses) != {row.answer}:
            yield f"answers {dict(statuses)}, not {row.answer}"
    elif row.answer is not None:
        unknown = set(statuses) - set(row.answer)
        if unknown or not all(
            within(statuses[status], wanted) for status, wanted in row.answer.items()
        ):
            yield f"answers {dict(statuses)}, not {row.answer}"
    found = {answer.grpc for answer in answers}
    if row.grpc is not None and found != {row.grpc}:
        yield f"gRPC statuses {found}, not {row.grpc}"
    yield from _who(row, [answer.by for answer in answers if answer.by])


def _who(row: Row, by: Sequence[str]) -> Iterator[str]:
    if row.by:
        wanted = {row.by} if isinstance(row.by, str) else set(row.by)
        if set(by) != wanted:
            yield f"answered by {sorted(set(by))}, not by {sorted(wanted)}"
    if row.sticky and len(set(by)) != 1:
        yield f"answered by {sorted(set(by))}, not always by the same"
    for workload, (low, high) in row.share.items():
        share = 100 * by.count(workload) / max(len(by), 1)
        if not low <= share <= high:
            yield f"{workload} answered {share:.0f} %, not {low} to {high}"


def _contents(row: Row, answers: Sequence[Answer]) -> Iterator[str]:
    for answer in answers[:1]:
        yield from _headers("answered with", answer.headers, row.got)
        if row.text is not None and row.text not in answer.body:
            yield f"the body is {answer.body[:300]!r}"
        if row.certificate and not any(re.search(row.certificate, it) for it in answer.names):
            yield f"the server's certificate is of {answer.names}"


def _seen(row: Row, seen: Sequence[Seen]) -> Iterator[str]:
    if not (row.seen or row.peer is not None):
        return
    if not seen:
        yield "no application got a request"
        return
    for one in seen:
        fields = {
            **one.headers,
            ":method": one.method,
            ":path": one.path,
            ":authority": one.authority,
            ":protocol": one.protocol,
            ":workload": one.workload,
        }
        yield from _headers("the application got", fields, row.seen)
        peer = "".join(_URI.findall(one.headers.get("x-forwarded-client-cert", ""))[-1:])
        if row.peer is not None and peer != row.peer:
            yield f"the application was told {peer!r}, not {row.peer!r}"


def _headers(
    what: str, fields: Mapping[str, str], wanted: Mapping[str, str | None]
) -> Iterator[str]:
    for name, value in wanted.items():
        found = fields.get(name)
        if value is not None and value.startswith("~"):
            right = found is not None and re.search(value[1:], found) is not None
        else:
            right = found == value
        if not right:
            yield f"{what} {name}: {found!r}, not {value!r}"


def _reached(row: Row, seen: Sequence[Seen]) -> Iterator[str]:
    counts = Counter(one.workload for one in seen)
    for workload, wanted in row.reached.items():
        if not within(counts[workload], wanted):
            yield f"{workload} got {counts[workload]} requests, not {wanted}"


def _connections(row: Row, outcome: Outcome) -> Iterator[str]:
    for workload, wanted in row.connections.items():
        used = {one.connection for one in outcome.seen if one.workload == workload}
        if not within(len(used), wanted):
            yield f"{workload} was called over {len(used)} connections, not {wanted}"
    for workload, least in row.ended.items():
        found = outcome.silence.get(workload)
        if found is None:
            yield f"the connection to {workload} did not end"
        elif found < 0.95 * least:
            yield f"the connection to {workload} ended after {found:.3f} s, not {least:g}"


def _logged(row: Row, outcome: Outcome) -> Iterator[str]:
    for wanted, log, side in (
        ({**row.logged, **_flags(row.flags)}, outcome.log, "first"),
        ({**row.server_logged, **_flags(row.server_flags)}, outcome.server_log, "server's"),
    ):
        texts = {name: str(value) for name, value in log.items() if value is not None}
        yield from _headers(f"the {side} Envoy logged", texts, wanted)


def _flags(flags: str | None) -> dict[str, str | None]:
    return {} if flags is None else {"flags": flags}


def within(found: float, wanted: Count) -> bool:
    """Tell whether a number is as wanted."""
    low, high = (wanted, wanted) if isinstance(wanted, int) else wanted
    return low <= found <= high


def samples(lines: Sequence[str]) -> Samples:
    """Return a metrics page: labels and values by metric."""
    found: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for line in lines:
        matched = _SAMPLE.fullmatch(line)
        if matched:
            name, labels, value = matched.groups()
            found.setdefault(name, []).append((dict(_LABEL.findall(labels)), float(value)))
    return found


def total(page: Samples, wanted: Counted) -> float:
    """Return the sum of a metric's series that carry the wanted labels."""
    series = page.get(wanted.metric, ())
    return sum(value for labels, value in series if wanted.labels.items() <= labels.items())


async def soon(check: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    """Wait until `check` holds, or long enough that it never will."""
    try:
        async with asyncio.timeout(seconds):
            while not await check():  # noqa: ASYNC110 - a page cannot be awaited
                await asyncio.sleep(0.01)
    except TimeoutError:
        pass  # the verdict says what is missing
