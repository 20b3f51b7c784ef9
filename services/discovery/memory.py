"""Memory: keeps the garbage collector from stopping the event loop over what will stay anyway.

A full collection looks at every container of the process, with the interpreter's lock held: tens of
milliseconds for a large mesh, several times while it loads. Configuration has no reference cycles
and is freed by counting. So the collector rests while a large batch is worked on, and what there is
afterwards is moved out of its sight.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collection_held_back(*, large: bool) -> Iterator[None]:
    """Run the block without collections if what it makes is large, and let that be from then on."""
    if not large:
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
