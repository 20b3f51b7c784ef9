"""Entries: what Envoy says of a connection, read from the messages of `libs.xds.generate.tally`.

The body of each is a list: the connection's id, the kind of the entry, then name and value of each
counter. Labels that all entries of a message share stand in its resource.
"""

from collections.abc import Iterable, Iterator

from google.protobuf.message import DecodeError
from msgspec import Struct

from libs.protos.tally.v1 import tally_pb2

Labels = tuple[tuple[str, str], ...]
"""Names and values, in the order of the configuration."""

MAX_TEXT = 1024
"""Characters of a value that count: what a stranger sent may be in it."""

_END = b"TcpConnectionEnd"
_MISSING = "-"
_FLAGS = "response_flags"  # the one label that says so itself when there is nothing to say


class EntryError(ValueError):
    """A message is none of these; the text says why."""


class Entry(Struct, frozen=True, gc=False):
    """What one connection has come to."""

    connection: tuple[int, int]  # when it began, in nanoseconds of wall time, and Envoy's number
    ended: bool
    totals: tuple[tuple[str, int], ...]  # name of each counter and bytes since the beginning
    labels: Labels


def read(message: bytes) -> Iterator[Entry]:
    """Yield the entries of a message, oldest first.

    Raises:
        EntryError: it is malformed.

    """
    try:
        export = tally_pb2.Export.FromString(message)
        for logs in export.resource_logs:
            shared = _labels(logs.resource.attributes)
            for scope in logs.scope_logs:
                for record in scope.log_records:
                    yield _entry(record, shared)
    except (DecodeError, ValueError) as error:
        raise EntryError(str(error)) from error


def _entry(record: tally_pb2.Record, shared: Labels) -> Entry:
    number, kind, *counters = (it.string_value for it in record.body.array_value.values)
    names = (name.decode() for name in counters[::2])
    totals = zip(names, map(int, counters[1::2]), strict=True)
    return Entry(
        connection=(record.time_unix_nano, int(number)),
        ended=kind == _END,
        totals=tuple(totals),
        labels=shared + _labels(record.attributes),
    )


def _labels(pairs: Iterable[tally_pb2.Pair]) -> Labels:
    return tuple((pair.key.decode(), _text(pair)) for pair in pairs)


def _text(pair: tally_pb2.Pair) -> str:
    """Return a value as Envoy's own metrics would show it: nothing where there is none."""
    text = pair.value.string_value[:MAX_TEXT].decode(errors="replace")
    return "" if text == _MISSING and pair.key != _FLAGS.encode() else text
