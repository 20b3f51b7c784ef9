"""What a backend raises. Nothing of it leaves this room: `cache.Cache` makes misses of it.

BackendError
 ├─ UnreachableError   no answer in time, or none at all: the breaker counts it
 └─ RefusedError       it answered, but not with what was asked for
"""


class BackendError(Exception):
    """Base of all errors of backends."""


class UnreachableError(BackendError):
    """The backend is away or hangs; try again later."""


class RefusedError(BackendError):
    """The backend is there and says no: wrong type, out of memory, read-only, no permission."""


def late(seconds: float) -> str:
    """Return the words for no answer in time: a TimeoutError has none."""
    return f"no answer within {seconds:g} s"
