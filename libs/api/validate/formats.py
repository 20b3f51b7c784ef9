"""Rules about the `%COMMAND%` texts that Envoy fills in: in headers, access logs and spans.

Envoy refuses all of what a wrong format stands in, a route configuration or a listener: what has
nothing to do with it would be frozen too. Expressions inside `%CEL(…)%` are judged as well.
"""

import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from libs.api.validate.commands import COMMANDS, SHAPES, Takes
from libs.api.validate.expressions import wrong_expression

_COMMAND = re.compile(r"%([A-Z0-9_]+)(?:\((.*?)\))?(?::([0-9]+))?%")
"""As in Envoy's own parser: arguments end at the first `)` that `%` or a length follows."""
_SHAPES = {name: (re.compile(pattern), words) for name, (pattern, words) in SHAPES.items()}
_NUMBER_BITS = 64


class _Operator(msgspec.Struct, forbid_unknown_fields=True):
    command: str
    param: str | None = None
    max_length: Annotated[int, msgspec.Meta(ge=1)] | None = None


class _Operators(msgspec.Struct):
    operators: Annotated[list[str | _Operator], msgspec.Meta(min_length=1)]


def wrong_format(text: str) -> str:
    """Return what is wrong with a text that Envoy fills in, or an empty text."""
    for wrong in _wrongs(text):
        return wrong
    return ""


def _wrongs(text: str) -> Iterator[str]:
    position = text.find("%")
    while position >= 0:
        if text.startswith("%%", position):
            position = text.find("%", position + 2)
            continue
        found = _COMMAND.match(text, position)
        if found is None:
            yield (
                f"{text[position : position + 20]!r} at {position} is no command;"
                " write %% for a percent sign"
            )
            return
        yield from _of_command(*found.group(1, 2, 3))
        position = text.find("%", found.end())


def _of_command(name: str, arguments: str | None, length: str | None) -> Iterator[str]:
    takes = COMMANDS.get(name)
    if takes is None:
        yield f"Envoy knows no command {name[:60]!r}"
        return
    if arguments and takes is Takes.NOTHING:
        yield f"{name} takes no arguments"
    if not arguments and takes is Takes.NEEDS_ARGUMENTS:
        yield f"{name} needs arguments"
    if length is not None:
        yield from _of_length(name, length, takes)
    if arguments:
        yield from _of_arguments(name, arguments)


def _of_length(name: str, length: str, takes: Takes) -> Iterator[str]:
    if takes in {Takes.NOTHING, Takes.ARGUMENTS}:
        yield f"{name} takes no length"
    elif int(length) >= 1 << _NUMBER_BITS:
        yield f"{name}: its length is too large"


def _of_arguments(name: str, arguments: str) -> Iterator[str]:
    if name == "CEL":
        yield from filter(None, [wrong_expression(arguments)])
    elif name == "COALESCE":
        yield from _of_operators(arguments)
    elif name in _SHAPES and not _SHAPES[name][0].fullmatch(arguments):
        yield f"{name} takes {_SHAPES[name][1]}"


def _of_operators(arguments: str) -> Iterator[str]:
    """Judge the commands of which the first that has a value is taken."""
    try:
        found = msgspec.json.decode(arguments, type=_Operators)
    except msgspec.DecodeError as error:
        yield f"COALESCE takes an object with operators: {error}"
        return
    for one in found.operators:
        if isinstance(one, str):
            yield from _of_command(one, None, None)
        else:
            length = None if one.max_length is None else str(one.max_length)
            yield from _of_command(one.command, one.param, length)
