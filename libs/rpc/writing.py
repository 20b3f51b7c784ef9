"""Writing: messages of a streaming call, and how its end is learned of.

A caller may end a call at any moment, and gRPC then fails the write that is under way before it
cancels the task. That is the end of the call, nobody's error, and not worth a trace in the log.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc.aio

from libs.rpc.errors import GoneError
from libs.rpc.peer import Context
from libs.runtime.tasks import leaves


async def write(context: Context, message: Any) -> None:  # noqa: ANN401  # as the call's serializer
    """Write one message; returns when gRPC has room for the next.

    Raises:
        GoneError: the caller has ended the call.

    """
    try:
        await context.write(message)
    except (grpc.aio.InternalError, grpc.aio.UsageError) as error:
        gone = "the caller has ended the call"
        raise GoneError(gone) from error


@contextmanager
def ends_when_gone() -> Iterator[None]:
    """End the block in silence when one of its writes found that the caller has gone."""
    try:
        yield
    except (GoneError, ExceptionGroup) as error:
        if not any(isinstance(leaf, GoneError) for leaf in leaves(error)):
            raise
