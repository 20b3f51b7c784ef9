"""The garbage collector, told that most of what is here stays.

A full collection looks at every scope, set and stream and stops the event loop meanwhile: a tenth
of a second for a mesh of a thousand services and as many streams. Nearly everything is freed by
reference counts anyway, so full collections may be rare, and need not look at the first mesh again.
"""

import gc

YOUNG, MIDDLE, OLD = 5_000, 20, 200
"""Allocations until the young are looked at, rounds until the middle-aged, and until all are."""


def settle() -> None:
    """Take what is here now for permanent; call it once, after the first mesh has come."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
