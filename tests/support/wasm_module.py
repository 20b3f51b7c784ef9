"""A tiny module of WebAssembly that speaks proxy-wasm: it adds `x-module: was here` to responses.

Written byte by byte, as no compiler is at hand: `_section` and `_named` follow the binary format.
"""

from collections.abc import Iterable

HEADER = ("x-module", "was here")

_I32 = 0x7F
_FUNCTION, _MEMORY = 0, 2
_RESPONSE_HEADERS = 2


def module() -> bytes:
    """Return the module."""
    key, value = (text.encode() for text in HEADER)
    types = _section(
        1,
        _vector(
            [
                _type(5),  # proxy_add_header_map_value
                _type(3),  # proxy_on_response_headers
                _type(1),  # proxy_on_memory_allocate
                _type(2),  # proxy_on_vm_start, proxy_on_configure
                b"\x60\x00\x00",  # proxy_abi_version_0_2_1, _initialize
            ]
        ),
    )
    imports = _section(
        2, _vector([_name("env") + _name("proxy_add_header_map_value") + bytes((_FUNCTION, 0))])
    )
    functions = _section(3, _vector([b"\1", b"\2", b"\3", b"\4"]))
    memory = _section(5, _vector([b"\0\1"]))
    exports = _section(
        7,
        _vector(
            [
                _name("memory") + bytes((_MEMORY, 0)),
                _export("proxy_on_response_headers", 1),
                _export("proxy_on_memory_allocate", 2),
                _export("proxy_on_vm_start", 3),
                _export("proxy_on_configure", 3),
                _export("proxy_abi_version_0_2_1", 4),
                _export("_initialize", 4),
            ]
        ),
    )
    add = [_RESPONSE_HEADERS, 0, len(key), len(key), len(value)]
    bodies = [
        b"".join(map(_const, add)) + b"\x10\x00\x1a" + _const(0),  # call it, drop its result
        _const(1024),
        _const(1),
        b"",
    ]
    code = _section(10, _vector(_sized(b"\0" + body + b"\x0b") for body in bodies))
    data = _section(11, _vector([b"\0" + _const(0) + b"\x0b" + _sized(key + value)]))
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
