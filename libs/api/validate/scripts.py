"""Whether a script of Lua compiles. It is never run.

Envoy compiles scripts with LuaJIT, built to take what Lua 5.2 takes as well. The LuaJIT here is
built without that, so that of a script that it refuses Lua 5.2 is asked, too: what one of both
takes counts as right. What a script does when Envoy loads it is not known here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from lupa import lua52, luajit21

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report

MAX_BYTES = 65_536
"""Of all scripts of a resource; what is beyond is not judged. Compiling so much takes 50 ms."""

MAX_SECOND_OPINION = 16_384
"""Lua 5.2 takes the square of what is asked."""

_TYPES = (".lua.v3.Lua", ".lua.v3.LuaPerRoute")
_TYPE_FIELDS = ("@type", "type_url", "typeUrl")
_BYTECODE = "\x1b"
_MESSAGE = re.compile(r'\[string "script"\]:(\d+): (.*)', re.DOTALL)
_OF_LUAJIT = re.compile(r"[0-9a-fA-F](?:[uU]?[lL][lL]|i)\b")
"""A number that Lua 5.2 does not know."""

_MAX_TEXT = 200


def check_script(code: str, path: Path, report: Report) -> None:
    """Report a script that Envoy would refuse, with the line of the mistake."""
    if wrong := complaint(code):
        report.error(path, reasons.INVALID_SCRIPT, wrong)


def check_patch(value: Mapping[str, Any], path: Path, report: Report) -> None:
    """Report scripts that stand in a patch of Envoy's configuration."""
    for code, place in _inline(value, path):
        check_script(code, place, report)


def complaint(code: str) -> str:
    """Return why a script does not compile; empty if it does, or if nobody can tell."""
    if code.startswith(_BYTECODE):
        return "is bytecode, which no compiler has checked"
    code = code.partition("\0")[0]  # as Envoy reads it
    if len(code.encode()) > MAX_BYTES:
        return ""
    try:
        luajit21.LuaRuntime(register_eval=False, register_builtins=False).compile(code, "script")
    except luajit21.LuaSyntaxError as error:
        return "" if _is_right_elsewhere(code) else _readable(str(error))
    return ""


def _is_right_elsewhere(code: str) -> bool:
    """Tell whether Lua 5.2 takes a script, or cannot tell."""
    if len(code.encode()) > MAX_SECOND_OPINION or _OF_LUAJIT.search(code):
        return True
    runtime = lua52.LuaRuntime(register_eval=False, register_builtins=False)
    try:
        runtime.compile(code, "script", "t")
    except lua52.LuaSyntaxError:
        return False
    return True


def _readable(text: str) -> str:
    found = _MESSAGE.fullmatch(text)
    said = f"line {found[1]}: {found[2]}" if found else text
    return "".join(letter if letter.isprintable() else "?" for letter in said)[:_MAX_TEXT]


def _inline(value: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the scripts of all filters of Lua in a patch, until there are too many."""
    left, waiting = MAX_BYTES, [(value, path)]
    while waiting:
        config, place = waiting.pop()
        for code, where in _of_filter(config, place) if _is_lua(config) else ():
            left -= len(code.encode())
            if left < 0:
                return
            yield code, where
        for key, item in config.items():
            if isinstance(item, dict):
                waiting.append((item, (place, key)))
            elif isinstance(item, list):
                listed = ((one, ((place, key), index)) for index, one in enumerate(item))
                waiting += [(one, where) for one, where in listed if isinstance(one, dict)]


def _is_lua(config: Mapping[str, Any]) -> bool:
    return any(str(config.get(field, "")).endswith(_TYPES) for field in _TYPE_FIELDS)


def _of_filter(config: Mapping[str, Any], path: Path) -> Iterator[tuple[str, Path]]:
    if "@type" in config and isinstance(config.get("value"), dict):  # a TypedStruct
        config, path = config["value"], (path, "value")
    for field in ("inline_code", "inlineCode"):
        if isinstance(code := config.get(field), str):
            yield code, (path, field)
    for field in ("default_source_code", "defaultSourceCode", "source_code", "sourceCode"):
        yield from _of_source(config.get(field), (path, field))
    for field in ("source_codes", "sourceCodes"):
        if isinstance(named := config.get(field), dict):
            for name, source in named.items():
                yield from _of_source(source, ((path, field), name))


def _of_source(source: object, path: Path) -> Iterator[tuple[str, Path]]:
    if isinstance(source, dict):
        for field in ("inline_string", "inlineString"):
            if isinstance(code := source.get(field), str):
                yield code, (path, field)
