"""A gRPC program without a sidecar: gRPC's own xDS client, configured by config-push.

It is `client` by its identity and labels, calls `calls.shop:8081`, and dials pods in clear text. A
client accepts a configuration some time before it follows it, so whoever asks names the answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc

from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.xds.generate import GENERATORS
from tests.support.behaviour.asking import Answer
from tests.support.grpc_xds import Caller, calling
from tests.support.push_plane import RunningPlane, identity, running_plane

TARGET = "calls.shop:8081"
_SECONDS = 10


class Program:
    """The program and what configures it."""

    def __init__(self, running: RunningPlane, caller: Caller) -> None:
        self._running = running
        self._caller = caller

    async def follow(self, mesh: Mesh) -> None:
        """Have it take over a mesh."""
        change = self._running.change(mesh, "Table")
        receipt = await self._running.receipt(change.change)
        assert receipt.rejected == 0

    async def until(self, by: str, headers: Mapping[str, str]) -> None:
        """Call until a workload answers, or long enough that it never will."""
        try:
            async with asyncio.timeout(_SECONDS):
                while (await self.call(headers)).by != by:
                    pass
        except TimeoutError:
            pass  # what is asked next shows who answers instead

    async def call(self, headers: Mapping[str, str]) -> Answer:
        """Make one call."""
        text = await self._caller.call(headers)
        if text.startswith("{"):
            by = json.loads(text)["workload"]
            return Answer(status=200, grpc=0, headers={"x-by": by}, body=text)
        code = grpc.StatusCode[text.partition(":")[0]].value[0]
        return Answer(status=200, grpc=code, body=text)


@asynccontextmanager
async def program(folder: Path) -> AsyncIterator[Program]:
    """Run the program."""

    async def known(_: object) -> SpiffeId:
        return identity("shop", "client")

    async with (
        running_plane(folder, generators=GENERATORS, authenticate=known) as running,
        calling(folder, running.address, TARGET) as caller,
    ):
        yield Program(running, caller)
