"""Readers: for each type of a field, the function that reads raw JSON-like data into it.

A reader never raises and never stops at the first mistake: it reports each with its path, and gives
INVALID for what cannot be read. Readers are made from the annotations of the Structs, once a type.
Their recursion is that of the types, which is a dozen deep, not that of the data.

Null means absent, as it does to the API server and in protobuf's JSON.
"""

import base64
import binascii
import math
import re
from collections.abc import Callable, Container, Iterable, Mapping
from datetime import datetime
from difflib import get_close_matches
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import fields

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.resource import Resource
from libs.api.scalars import Duration, JsonObject, Timestamp
from libs.model import durations

INVALID = object()
"""Stands for a value that could not be read; its problems are in the report."""

Reader = Callable[[object, Path, Report], object]

_MAX_SUGGESTED = 64
_MAX_NUMBER = 2.0**1023
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # JSON can escape one; UTF-8 cannot carry it
_TOP_LEVEL = frozenset({"apiVersion", "kind", "status"})


@cache
def reader_of(annotation: Any) -> Reader:  # noqa: ANN401 - any annotation
    """Return the reader of a type, as it is annotated in a Struct."""
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _within(reader_of(arguments[0]), arguments[1])
    if origin in {Union, UnionType}:
        return _union(frozenset(arguments))
    if origin is tuple:
        return _list(reader_of(arguments[0]))
    if origin is dict:
        return _map(arguments[0], reader_of(arguments[1]))
    return _choice(annotation) if issubclass(annotation, Enum) else StructReader(annotation)


class StructReader:
    """Reads a mapping into a Struct; unknown fields are reported if the Struct forbids them."""

    def __init__(self, struct: type[Struct]) -> None:
        self._struct = struct
        self._fields: dict[str, tuple[str, Reader]] = {}
        self._required = {
            field.name: field.encode_name for field in fields(struct) if field.required
        }
        self._strict = struct.__struct_config__.forbid_unknown_fields
        self._ignored = _TOP_LEVEL if issubclass(struct, Resource) else frozenset()
        for field in fields(struct):
            entry = field.name, reader_of(field.type)
            self._fields[field.encode_name] = entry
            if self._strict:  # protobuf's JSON knows both spellings
                self._fields[field.name.rstrip("_")] = entry

    def __call__(self, value: object, path: Path, report: Report) -> object:
        """Read one mapping."""
        if not isinstance(value, dict | Mapping):  # the first is a quick answer
            return _wrong(value, path, report, "a mapping")
        known, found, readable = self._fields, dict[str, object](), True
        for key, inner in value.items():
            if inner is None:
                continue
            entry = known.get(key)
            if entry is None:
                self._unknown(key, path, report)
                continue
            name, reader = entry
            if name in found:
                report.error((path, key), reasons.DUPLICATE_KEY, "is there in both spellings")
            found[name] = made = reader(inner, (path, key), report)
            readable = readable and made is not INVALID
        if not self._required.keys() <= found.keys():
            return self._missing(found, path, report)
        return self._struct(**found) if readable else INVALID

    def _missing(self, found: Container[str], path: Path, report: Report) -> object:
        for name, written in self._required.items():
            if name not in found:
                report.error((path, written), reasons.MISSING_FIELD, f"{written} is required")
        return INVALID

    def _unknown(self, key: str, path: Path, report: Report) -> None:
        if not self._strict or key in self._ignored or report.full:
            return
        near = get_close_matches(key, self._fields, n=1) if len(key) <= _MAX_SUGGESTED else []
        hint = f"; did you mean {near[0]}?" if near else ""
        report.error((path, key), reasons.UNKNOWN_FIELD, f"there is no such field{hint}")


def describe(value: object) -> str:
    """Return what sort of value this is, in a person's words."""
    for kind, words in _WORDS:
        if isinstance(value, kind):
            return words
    return "something else"


_WORDS: tuple[tuple[Any, str], ...] = (
    (NoneType, "null"),
    (bool, "true or false"),
    (int, "a number"),
    (float, "a fraction"),
    (str, "a text"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
)


def _wrong(value: object, path: Path, report: Report, expected: str) -> object:  # noqa: PLR0917
    text = f"must be {expected}, not {describe(value)}"
    if expected == "a text" and isinstance(value, bool):
        text += "; YAML reads yes, no, on and off so: put it in quotes"
    elif expected == "a text" and isinstance(value, int | float):
        text += ": put it in quotes"
    report.error(path, reasons.WRONG_TYPE, text)
    return INVALID


def _text(value: object, path: Path, report: Report) -> object:
    if not isinstance(value, str):
        return _wrong(value, path, report, "a text")
    if not value.isascii() and _SURROGATE.search(value):
        report.error(path, reasons.WRONG_TYPE, "is not text: half of a surrogate pair")
        return INVALID
    return value


def _boolean(value: object, path: Path, report: Report) -> object:
    return value if isinstance(value, bool) else _wrong(value, path, report, "true or false")


def _integer(value: object, path: Path, report: Report) -> object:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return _wrong(value, path, report, "a whole number")
    if not -(2**63) <= value < 2**64:
        report.error(path, reasons.OUT_OF_RANGE, "does not fit into 64 bits")
        return INVALID
    return value


def _number(value: object, path: Path, report: Report) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return _wrong(value, path, report, "a number")
    if not abs(value) < 2**64:
        report.error(path, reasons.OUT_OF_RANGE, "is not a number of reasonable size")
        return INVALID
    return float(value)


def _duration(value: object, path: Path, report: Report) -> object:
    if not isinstance(value, str):
        return _wrong(value, path, report, "a duration such as 1.5s")
    try:
        milliseconds = durations.parse(value)
    except ValueError as error:
        report.error(path, reasons.INVALID_DURATION, str(error))
        return INVALID
    if milliseconds.denominator != 1:
        report.error(path, reasons.INVALID_DURATION, "must be whole milliseconds")
        return INVALID
    return milliseconds.numerator


def _timestamp(value: object, path: Path, report: Report) -> object:
    try:
        if isinstance(value, str) and len(value) <= _MAX_SUGGESTED:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return int(moment.timestamp())
    except (ValueError, OverflowError):
        pass
    report.error(path, reasons.INVALID_TIME, "must be a time such as 2025-01-31T08:00:00Z")
    return INVALID


def _base64(value: object, path: Path, report: Report) -> object:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    report.error(path, reasons.INVALID_BYTES, "must be base64")
    return INVALID


def _integer_or_text(value: object, path: Path, report: Report) -> object:
    return value if isinstance(value, str) else _integer(value, path, report)


def _object(value: object, path: Path, report: Report) -> object:
    """Read a mapping of data that is not ours, without recursion: it may be as deep as it likes."""
    if not isinstance(value, Mapping):
        return _wrong(value, path, report, "a mapping")
    pending: list[object] = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, Mapping):
            pending += (*inner.keys(), *inner.values())
        elif isinstance(inner, list | tuple):
            pending += inner
        elif isinstance(inner, str) and not inner.isascii() and _SURROGATE.search(inner):
            report.error(path, reasons.WRONG_TYPE, "holds what is not text: half of a surrogate")
            return INVALID
        elif isinstance(inner, int | float) and not abs(inner) < _MAX_NUMBER:
            report.error(path, reasons.OUT_OF_RANGE, "holds a number of unreasonable size")
            return INVALID
    return dict(value)


_SCALARS: dict[Any, Reader] = {
    str: _text,
    bool: _boolean,
    int: _integer,
    float: _number,
    bytes: _base64,
    Duration: _duration,
    Timestamp: _timestamp,
    JsonObject: _object,
}


def _union(members: frozenset[Any]) -> Reader:
    present = members - {NoneType}
    if present == {int, str}:
        return _integer_or_text
    (only,) = present  # every other union of the Structs is "or None"
    return reader_of(only)


def _choice(enum: type[Enum]) -> Reader:
    choices = {member.value: member for member in enum}
    named = ", ".join(filter(None, choices))

    def read(value: object, path: Path, report: Report) -> object:
        if not isinstance(value, str):
            return _wrong(value, path, report, f"one of {named}")
        if value not in choices:
            report.error(path, reasons.INVALID_CHOICE, f"must be one of {named}")
        return choices.get(value, INVALID)

    return read


def _list(item: Reader) -> Reader:
    def read(value: object, path: Path, report: Report) -> object:
        if not isinstance(value, list | tuple):
            return _wrong(value, path, report, "a list")
        found = [item(inner, (path, at), report) for at, inner in enumerate(value)]
        return INVALID if _among(found) else tuple(found)

    return read


def _among(found: Iterable[object]) -> bool:
    """Tell whether something could not be read; `in` would compare every Struct field by field."""
    return any(one is INVALID for one in found)


def _map(key_type: type, inner_reader: Reader) -> Reader:
    def read(value: object, path: Path, report: Report) -> object:
        if not isinstance(value, dict | Mapping):
            return _wrong(value, path, report, "a mapping")
        found: dict[object, object] = {}
        for key, inner in value.items():
            place = (path, key)
            found[_key(key, key_type, place, report)] = inner_reader(inner, place, report)
        return INVALID if INVALID in found or _among(found.values()) else found

    return read


def _key(key: str, key_type: type, path: Path, report: Report) -> object:  # noqa: PLR0917
    if key_type is str:
        return _text(key, path, report)
    if key.isascii() and key.isdigit() and len(key) <= 10:
        return int(key)
    report.error(path, reasons.WRONG_TYPE, "the key must be a number")
    return INVALID


def _within(inner: Reader, meta: Meta) -> Reader:
    """Return a reader that also checks the bounds of `meta`."""
    low = -math.inf if meta.ge is None else meta.ge
    high = math.inf if meta.le is None else meta.le

    def read(value: object, path: Path, report: Report) -> object:
        found = inner(value, path, report)
        if type(found) is int and low <= found <= high:
            return found  # as nearly all are
        if found is not INVALID and (text := _outside(found, meta)):
            report.error(path, reasons.OUT_OF_RANGE, text)
            return INVALID
        return found

    return read


def _outside(value: Any, meta: Meta) -> str:  # noqa: ANN401 - what the inner reader gave
    if meta.ge is not None and value < meta.ge:
        return f"must be at least {meta.ge}"
    if meta.le is not None and value > meta.le:
        return f"must be at most {meta.le}"
    if meta.min_length is not None and len(value) < meta.min_length:
        return "must not be empty"
    if meta.max_length is not None and len(value) > meta.max_length:
        return f"must not be longer than {meta.max_length}"
    return ""
