"""The garbage collector, told that most of what is here stays.

A full collection looks at everything that a process keeps and stops its event loop meanwhile: a
tenth of a second for a mesh of a thousand services and as many streams, and half of that where
there are only modules. Nearly everything is freed by reference counts anyway, so full collections
may be rare, and need not look again at what was there first.
"""

import gc

YOUNG, MIDDLE, OLD = 5_000, 20, 200
"""Allocations until the young are looked at, rounds until the middle-aged, and until all are."""


def settle() -> None:
    """Take what is here now for permanent; call it once, when a process has what it keeps."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
