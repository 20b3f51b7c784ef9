"""Messages: as much of DNS's wire format as a proxy needs.

A query's header, its one question, and the size of datagrams that the client takes are read; all
else passes through as bytes. Answers hold addresses and one alias. A library that knows every type
of record would cost each pod five megabytes.
"""

import struct
from collections.abc import Sequence
from ipaddress import ip_address

from msgspec import Struct

A, CNAME, AAAA, OPT = 1, 5, 28, 41
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, REFUSED = 0, 1, 2, 3, 5
TTL = 30
MAX_MESSAGE = 65535
PLAIN_DATAGRAM = 512
MAX_DATAGRAM = 1232
"""What crosses any network in one piece."""

MAX_ADDRESSES = 2000
"""What fits into one message by TCP."""

_HEADER = struct.Struct("!6H")
_MAX_NAME = 255
_RECORD_HEAD = 12  # with a name that points to another
_IN = 1
_RESPONSE, _AUTHORITATIVE, _TRUNCATED, _RECURSIVE = 0x8000, 0x0400, 0x0200, 0x0080
_OPCODE, _WANTS_RECURSION = 0x7800, 0x0100


class MessageError(Exception):
    """Bytes that are no query: too short, a response, or a question that breaks off."""


class Query(Struct, frozen=True):
    """One question, and the bytes that it came in."""

    raw: bytes
    number: int
    name: str  # lower case, without the dot at the end
    kind: int
    question: bytes
    """As on the wire; answers repeat it letter by letter."""
    ordinary: bool
    """A lookup in the Internet's class; others are passed on whatever they ask."""
    room: int
    """Bytes that the client takes in one datagram."""

    @property
    def flags(self) -> int:
        """The second word of the header."""
        return int.from_bytes(self.raw[2:4], "big")


def parse(raw: bytes) -> Query:
    """Return the query in a message.

    Raises:
        MessageError: it is none.

    """
    if len(raw) < _HEADER.size or len(raw) > MAX_MESSAGE:
        message = f"{len(raw)} bytes"
        raise MessageError(message)
    number, flags, questions, *others = _HEADER.unpack_from(raw)
    if flags & _RESPONSE or questions != 1:
        message = "not a query with one question"
        raise MessageError(message)
    name, end = _name(raw, _HEADER.size)
    if len(raw) < end + 4:
        message = "the question breaks off"
        raise MessageError(message)
    kind, category = struct.unpack_from("!HH", raw, end)
    return Query(
        raw=raw,
        number=number,
        name=name,
        kind=kind,
        question=raw[_HEADER.size : end + 4],
        ordinary=category == _IN and not flags & _OPCODE,
        room=_room(raw, end + 4, others),
    )


def answer(query: Query, addresses: Sequence[str], *, alias: str = "") -> bytes:
    """Return a response with addresses; `alias` is the name that they belong to, if another."""
    records = []
    owner = b"\xc0\x0c"  # the name of the question
    if alias:
        records.append(_record(owner, CNAME, _packed(alias)))
        owner = (0xC000 | _HEADER.size + len(query.question) + _RECORD_HEAD).to_bytes(2, "big")
    data = (ip_address(address).packed for address in addresses[:MAX_ADDRESSES])
    records += [_record(owner, query.kind, packed) for packed in data]
    flags = _RESPONSE | _AUTHORITATIVE | _RECURSIVE | query.flags & _WANTS_RECURSION
    header = _HEADER.pack(query.number, flags, 1, len(records), 0, 0)
    return header + query.question + b"".join(records)


def failure(query: Query, code: int) -> bytes:
    """Return a response that says only `code`."""
    flags = _RESPONSE | _RECURSIVE | query.flags & (_OPCODE | _WANTS_RECURSION) | code
    return _HEADER.pack(query.number, flags, 1, 0, 0, 0) + query.question


def malformed(raw: bytes) -> bytes:
    """Return what bytes that are no query deserve: empty unless there is somebody to tell."""
    if len(raw) < _HEADER.size or raw[2] & 0x80:
        return b""
    return _HEADER.pack(int.from_bytes(raw[:2], "big"), _RESPONSE | FORMERR, 0, 0, 0, 0)


def fitted(response: bytes, query: Query) -> bytes:
    """Return a response that fits the client's datagrams; a cut one says so, and TCP has all."""
    if len(response) <= query.room:
        return response
    flags = int.from_bytes(response[2:4], "big") | _TRUNCATED
    return _HEADER.pack(query.number, flags, 1, 0, 0, 0) + query.question


def truncated(response: bytes) -> bool:
    """Tell whether a response was cut."""
    return bool(response[2] & 0x02)


def code(response: bytes) -> int:
    """Return a response's code."""
    return response[3] & 0x0F


def exists(response: bytes) -> bytes:
    """Return a response that there is no such name, turned to: nothing of that kind."""
    return response[:3] + bytes([response[3] & 0xF0]) + response[4:]


def numbered(message: bytes, number: int) -> bytes:
    """Return a message under another number."""
    return number.to_bytes(2, "big") + message[2:]


def responds(response: bytes, query: Query, number: int) -> bool:
    """Tell whether a message responds to `query` as it was sent under `number`."""
    if len(response) < _HEADER.size or not response[2] & 0x80:
        return False
    found, _, questions, *_ = _HEADER.unpack_from(response)
    if found != number:
        return False
    if questions == 0:  # some servers do not repeat what they refuse
        return code(response) != NOERROR
    start, end = _HEADER.size, _HEADER.size + len(query.question)
    return response[start:end].lower() == query.question.lower()


def _name(raw: bytes, start: int) -> tuple[str, int]:
    """Return the name at `start` and where it ends; a question's name is never compressed."""
    labels: list[str] = []
    position = start
    while position < len(raw):
        length = raw[position]
        position += 1
        if length == 0:
            return ".".join(labels), position
        label = raw[position : position + length]
        position += length
        if length > 63 or position - start > _MAX_NAME or b"." in label:
            break
        labels.append(label.decode("latin-1").lower())
    message = "a name that breaks off, or is too long"
    raise MessageError(message)


def _packed(name: str) -> bytes:
    labels = (label.encode("latin-1") for label in name.split("."))
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _record(owner: bytes, kind: int, data: bytes) -> bytes:
    return owner + struct.pack("!HHIH", kind, _IN, TTL, len(data)) + data


def _room(raw: bytes, start: int, counts: Sequence[int]) -> int:
    """Return what EDNS says where it is the only record behind the question, as is usual."""
    if tuple(counts) != (0, 0, 1) or len(raw) < start + 11 or raw[start] != 0:
        return PLAIN_DATAGRAM
    kind, size = struct.unpack_from("!HH", raw, start + 1)
    return min(max(size, PLAIN_DATAGRAM), MAX_DATAGRAM) if kind == OPT else PLAIN_DATAGRAM
