"""Undumpable: keeps this process's memory out of core files and away from others of its user.

For every process that holds a private key. Linux only; elsewhere it is refused, not skipped.
"""

import ctypes
import os
import resource

_PR_GET_DUMPABLE = 3
_PR_SET_DUMPABLE = 4


def forbid_dumps() -> None:
    """Make this process undumpable: no core file, no ptrace, no /proc/<pid>/mem for its user.

    Raises:
        OSError: the system refused.

    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def dumps_forbidden() -> bool:
    """Tell whether this process is undumpable."""
    libc = ctypes.CDLL(None, use_errno=True)
    return int(libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)) == 0
