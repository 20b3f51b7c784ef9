"""Ports for servers of tests that must know them before they listen, or listen again later.

They are outside the range from which the kernel takes the ports of outgoing connections (from
32768 on Linux): nothing else gets one of them before its server has it, or while its server is
stopped. Whoever can, binds port 0 instead and asks which it was.
"""

import os
import socket
from collections.abc import Iterator
from itertools import count

_FIRST, _PAST = 20_000, 32_000
_START = os.getpid() * 601  # runs beside one another begin at different places
_tried = count(_START)


def free_ports(number: int, address: str = "127.0.0.1") -> list[int]:
    """Return ports that nothing listens on, and that no earlier call of this process returned.

    After 12,000 they begin again.
    """
    found = _free(address)
    return [next(found) for _ in range(number)]


def _free(address: str) -> Iterator[int]:
    for _ in range(_PAST - _FIRST):
        port = _FIRST + next(_tried) % (_PAST - _FIRST)
        if _is_free(address, port):
            yield port


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((address, port))
        except OSError:
            return False
    return True
