"""Trails: from the lines that the sample's callers print to single calls, whoever made them.

A line is a visit: one call with everything that it led to. Walking it gives each call with its
caller, because whoever answered a call is the caller of the calls inside its trail.
Which lines come is not decided here; a line that is no visit is no error, programs print others.
"""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct

OK = "ok"


class _Trail(Struct, frozen=True):
    instance: str = ""
    version: str = ""
    caller: str = ""
    calls: Sequence["_Call"] = ()


class _Call(Struct, frozen=True):
    service: str
    port: int
    protocol: str
    request: str = ""
    outcome: str = ""
    trail: _Trail = _Trail()


class _Line(Struct, frozen=True):
    instance: str
    call: _Call


class Seen(Struct, frozen=True, kw_only=True):
    """One call that was made. `proof` is the SPIFFE id that the callee's sidecar told it."""

    caller: str  # a pod's name
    service: str
    port: int
    protocol: str  # HTTP, gRPC, TCP
    method: str = ""
    path: str = ""
    outcome: str
    instance: str = ""  # who answered; empty if nobody did
    version: str = ""
    proof: str = ""

    @property
    def ok(self) -> bool:
        """The call was answered."""
        return self.outcome == OK


_DECODER = msgspec.json.Decoder(_Line)


def calls(line: str) -> Iterator[Seen]:
    """Yield the calls that a line tells of, outermost first; nothing if it is no visit."""
    if not line.startswith("{"):
        return
    try:
        visit = _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return
    yield from _walk(visit.instance, visit.call)


def _walk(caller: str, call: _Call) -> Iterator[Seen]:
    method, _, path = call.request.partition(" ")
    trail = call.trail
    yield Seen(
        caller=caller,
        service=call.service,
        port=call.port,
        protocol=call.protocol,
        method=method,
        path=path,
        outcome=call.outcome,
        instance=trail.instance,
        version=trail.version,
        proof=trail.caller,
    )
    for inner in trail.calls:
        yield from _walk(trail.instance, inner)
