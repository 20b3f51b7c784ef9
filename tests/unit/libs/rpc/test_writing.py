"""A caller that leaves while something is written to it ends its call, and is nobody's error."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from libs.rpc import writing
from libs.rpc.errors import GoneError
from libs.rpc.peer import Context

LARGE = bytes(1 << 20)


class _Writer:
    """Writes until nobody is there; keeps what it then saw."""

    def __init__(self) -> None:
        self.ends: list[type[BaseException]] = []

    async def flood(self, requests: AsyncIterator[bytes], context: Context) -> None:
        del requests
        try:
            with writing.ends_when_gone():
                while True:
                    await self._write(context)
        except BaseException as error:
            self.ends.append(type(error))
            raise

    async def _write(self, context: Context) -> None:
        try:
            await writing.write(context, LARGE)
        except GoneError as error:
            self.ends.append(type(error))
            raise


async def test_a_caller_that_leaves_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    writer = _Writer()
    handlers: dict[str, Any] = {"Flood": grpc.stream_stream_rpc_method_handler(writer.flood)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for _ in range(20):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream("/test/Flood")()
            await call.read()
            call.cancel()
    await server.stop(1)

    assert not caplog.records
    assert len(writer.ends) >= 20


def test_other_errors_pass() -> None:
    several = ExceptionGroup("several", [ValueError("one")])
    with pytest.raises(ExceptionGroup), writing.ends_when_gone():
        raise several
