"""A gRPC program without a sidecar: gRPC's own xDS client, configured by config-push.

It is `client` by its identity and labels, calls `calls.shop:8081`, and dials pods in clear text, or
with a certificate, where its configuration wants one and a row says that it has one. A client
accepts a configuration some time before it follows it, so whoever asks names the answer.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import grpc

from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.xds.generate import GENERATORS
from tests.support.behaviour.asking import Answer
from tests.support.certificates import Certificate
from tests.support.grpc_xds import Caller, calling
from tests.support.push_plane import RunningPlane, identity, running_plane

TARGET = "calls.shop:8081"
_SECONDS = 60


class Program:
    """What configures the program, and the program itself under the tables that speak of it."""

    def __init__(self, running: RunningPlane, folder: Path) -> None:
        self._running = running
        self._folder = folder
        self._process = AsyncExitStack()
        self._caller: Caller | None = None

    async def start(self, mesh: Mesh, proving: Certificate | None = None) -> None:
        """Start it anew with a mesh, so that it knows nothing of connections that failed before."""
        await self.stop()
        self._running.change(mesh, "Table")
        started = calling(self._folder, self._running.address, TARGET, proving)
        self._caller = await self._process.enter_async_context(started)

    async def stop(self) -> None:
        """End it, if it runs."""
        await self._process.aclose()
        self._caller = None

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
        assert self._caller is not None
        text = await self._caller.call(headers)
        if text.startswith("{"):
            by = json.loads(text)["workload"]
            return Answer(status=200, grpc=0, headers={"x-by": by}, body=text)
        code = grpc.StatusCode[text.partition(":")[0]].value[0]
        return Answer(status=200, grpc=code, body=text)


@asynccontextmanager
async def program(folder: Path) -> AsyncIterator[Program]:
    """Run what configures the program."""

    async def known(_: object) -> SpiffeId:
        return identity("shop", "client")

    plane = running_plane(folder, generators=GENERATORS, authenticate=known)
    async with plane as running:
        found = Program(running, folder)
        try:
            yield found
        finally:
            await found.stop()
