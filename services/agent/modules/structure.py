"""Structure: what a module of WebAssembly is made of, as far as that is seen without compiling it.

Sections that do not fit into the file, and a module that is not for proxies, are found here for
next to nothing. Whether the code itself is right is not: `judge` asks Envoy.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from services.agent.modules.body import MAGIC
from services.agent.modules.errors import ModuleError

MAX_SECTION = 4 * 1024 * 1024
"""Of imports or exports; of longer ones what is beyond is not read."""

_IMPORTS, _EXPORTS = 2, 7
_LAST_SECTION = 14
_MAX_NUMBER = 5  # bytes of a number of 32 bits
_VERSION = b"proxy_abi_version_"
_CALLS = (b"proxy_http_call", b"proxy_grpc_call", b"proxy_grpc_stream", b"proxy_call_foreign")


class Outline(Struct, frozen=True):
    """What is known of a module."""

    calls_out: bool
    """It may call other services, so its start may depend on which there are."""


def outline(path: Path) -> Outline:
    """Return what the module in a file is made of.

    Raises:
        ModuleError: it is no module, or none for proxies.

    """
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            message = "what is there is no module of WebAssembly"
            raise ModuleError(message)
        found = dict(_sections(file, path.stat().st_size))
    if _VERSION not in found.get(_EXPORTS, b""):
        message = "it is no module for proxies: it has no proxy_abi_version_…"
        raise ModuleError(message)
    imports = found.get(_IMPORTS, b"")
    return Outline(any(name in imports for name in _CALLS))


def _sections(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield the sections with names in them; all others are passed over."""
    while kind := file.read(1):
        start = file.tell()
        length = _number(file)
        begins = file.tell()
        if length is None or kind[0] > _LAST_SECTION or begins + length > end:
            message = f"it breaks off, or is no module: its section at byte {start - 1} is wrong"
            raise ModuleError(message)
        if kind[0] in {_IMPORTS, _EXPORTS}:
            yield kind[0], file.read(min(length, MAX_SECTION))
        file.seek(begins + length)


def _number(file: BinaryIO) -> int | None:
    """Return the number that comes next, or None if there is none."""
    found = 0
    for index in range(_MAX_NUMBER):
        byte = file.read(1)
        if not byte:
            return None
        found |= (byte[0] & 0x7F) << (7 * index)
        if byte[0] < 0x80:
            return found
    return None
