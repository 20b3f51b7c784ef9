"""Tiny modules of WebAssembly that speak proxy-wasm, one for requests and one for connections.

The first adds `x-module: was here` to responses, the second puts `module:` before what clients
send. Written byte by byte, as no compiler is at hand: `_section` and `_name` follow the binary
format.
"""

from collections.abc import Iterable

HEADER = ("x-module", "was here")
PREFIX = "module:"

_I32 = 0x7F
_FUNCTION, _MEMORY = 0, 2
_RESPONSE_HEADERS = 2
_FROM_CLIENTS = 2
NEVER_ENDS = b"\x03\x40\x0c\x00\x0b\x41\x01"
"""A loop that begins anew, and the number that nobody gets to return."""
_FAILS = b"\0"  # the instruction that is never to be reached


def module() -> bytes:
    """Return the module that filters requests."""
    key, value = HEADER
    add = [_RESPONSE_HEADERS, 0, len(key), len(key), len(value)]
    called = _calling(add)
    return _module("proxy_add_header_map_value", "proxy_on_response_headers", called, key + value)


def connection_module() -> bytes:
    """Return the module that filters connections."""
    called = _calling([_FROM_CLIENTS, 0, 0, 0, len(PREFIX)])
    return _module("proxy_set_buffer_bytes", "proxy_on_downstream_data", called, PREFIX)


def failing_connection_module() -> bytes:
    """Return a module that dies of the first bytes of a connection."""
    return _module("proxy_set_buffer_bytes", "proxy_on_downstream_data", _FAILS, PREFIX)


def failing_at_start(body: bytes = _FAILS, *, calls_out: bool = False) -> bytes:
    """Return a module in whose start and configuration happens `body`."""
    imported, takes = ("proxy_http_call", 10) if calls_out else ("proxy_set_buffer_bytes", 5)
    return _module(imported, "proxy_on_downstream_data", _const(0), "", start=body, takes=takes)


def _calling(arguments: Iterable[int]) -> bytes:
    """Return what calls the imported function, drops its result and lets Envoy go on."""
    return b"".join(map(_const, arguments)) + b"\x10\x00\x1a" + _const(0)


def _module(
    imported: str,
    hook: str,
    body: bytes,
    text: str,
    *,
    start: bytes | None = None,
    takes: int = 5,
) -> bytes:
    """Return a module with `text` at the start of its memory, in whose `hook` happens `body`.

    The function that is imported `takes` so many numbers, the hook three; both return one.
    """
    types = _section(
        1,
        _vector(
            [
                _type(takes),  # what is imported
                _type(3),  # the hook
                _type(1),  # proxy_on_memory_allocate
                _type(2),  # proxy_on_vm_start, proxy_on_configure
                b"\x60\x00\x00",  # proxy_abi_version_0_2_1, _initialize
            ]
        ),
    )
    imports = _section(2, _vector([_name("env") + _name(imported) + bytes((_FUNCTION, 0))]))
    functions = _section(3, _vector([b"\1", b"\2", b"\3", b"\4"]))
    memory = _section(5, _vector([b"\0\1"]))
    exports = _section(
        7,
        _vector(
            [
                _name("memory") + bytes((_MEMORY, 0)),
                _export(hook, 1),
                _export("proxy_on_memory_allocate", 2),
                _export("proxy_on_vm_start", 3),
                _export("proxy_on_configure", 3),
                _export("proxy_abi_version_0_2_1", 4),
                _export("_initialize", 4),
            ]
        ),
    )
    bodies = [body, _const(1024), _const(1) if start is None else start, b""]
    code = _section(10, _vector(_sized(b"\0" + one + b"\x0b") for one in bodies))
    data = _section(11, _vector([b"\0" + _const(0) + b"\x0b" + _sized(text.encode())]))
    return b"\0asm\1\0\0\0" + types + imports + functions + memory + exports + code + data


def _type(parameters: int) -> bytes:
    return b"\x60" + _vector([bytes((_I32,))] * parameters) + bytes((1, _I32))


def _export(name: str, function: int) -> bytes:
    return _name(name) + bytes((_FUNCTION, function))


def _const(number: int) -> bytes:
    return b"\x41" + _signed(number)


def _section(number: int, body: bytes) -> bytes:
    return bytes((number,)) + _sized(body)


def _vector(items: Iterable[bytes]) -> bytes:
    found = list(items)
    return _unsigned(len(found)) + b"".join(found)


def _name(text: str) -> bytes:
    return _sized(text.encode())


def _sized(body: bytes) -> bytes:
    return _unsigned(len(body)) + body


def _unsigned(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(found) + bytes((number,))


def _signed(number: int) -> bytes:
    """LEB128 of a positive number: its last byte must not look negative."""
    found = bytearray()
    while number > 0x3F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(found) + bytes((number,))
