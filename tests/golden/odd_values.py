"""Odd values: what nobody means to write, but may, in place of what a document says at a spot.

They are texts with breaks, signs of formats and other syntaxes, texts that are too long, numbers
and durations at the ends of what types of Envoy and of Linux hold.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, get_args, get_origin

from libs.api.scalars import Duration, JsonObject, Timestamp
from tests.tools.field_paths import present

TEXTS = (
    "a\r\nb",
    "%FOO%",
    "x" * 300,
    "a\x00b",
    "",
    "%",
    "a b",
    "*",
    "[",
    "a\nb",
    "%REQ(",
    "%REQ(:path):x%",
    "%REQ(x)%",
    "x" * 1030,
    "é",
    "a\tb",
    "*.*",
    "\\9",
    "host",
    ":path",
    "a..b",
    "1.2.3.4",
    "::1",
    ".",
    "unix:///a",
    "string(destination.port)",
    "/a\nb",
    "/a//../b?c#d",
)
NUMBERS = (
    *(0, 2**32 - 1, 8_388_609, -1, 1, 2**31 - 1, 100, 101, 599, 600, 65_535, 65_536, 2**31),
    *(2, 99, 1_000_000, 2**53),
)
DURATIONS = (
    *("2557919h", "1ms", "4294967296s", "0s", "2557920h", "2562047h", "876000h", "2ms", "999ms"),
    *("-1s", "4294967295s"),
)


def odd(annotation: Any, value: Any) -> Sequence[Any]:  # noqa: ANN401
    """Return odd values of a field of a type, beside which `value` is an ordinary one."""
    return tuple(other for other in _odd(present(annotation), value) if other != value)


def _odd(plain: Any, value: Any) -> Iterator[Any]:  # noqa: ANN401
    if plain in {JsonObject, Timestamp} or isinstance(value, bool) or not value:
        return
    if isinstance(value, list):
        for other in _odd(_inner(plain), value[0]):
            yield [other, *value[1:]]
    elif isinstance(value, dict):
        key, inner = next(iter(value.items()))
        values = (value | {key: other} for other in _odd(_inner(plain), inner))
        names = ({other: inner} for other in TEXTS)
        yield from (one for pair in zip(names, values, strict=False) for one in pair)
    elif isinstance(value, int | float):
        yield from NUMBERS
    elif plain is Duration:
        yield from DURATIONS
    elif isinstance(value, str) and not (isinstance(plain, type) and issubclass(plain, Enum)):
        yield from TEXTS


def _inner(annotation: Any) -> Any:  # noqa: ANN401
    arguments = get_args(annotation)
    if not arguments:
        return str
    return present(arguments[-1 if get_origin(annotation) is dict else 0])
