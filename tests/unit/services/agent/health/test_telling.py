"""What the control plane hears of a workload's health, whatever becomes of streams."""

import asyncio
from pathlib import Path

from libs.protos.xds.v1 import relay_pb2
from libs.runtime.backoff import Backoff
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.agent.health.checker import Verdict
from services.agent.health.telling import TYPE_URL, Telling
from services.agent.own_stream import OwnStream
from services.agent.streams.connection import Connection, Stream, StreamLostError
from services.agent.streams.messages import Unpacker
from services.agent.streams.server import accept
from tests.support.relay_plane import ControlPlane, refuses

NODE = {"id": "sidecar~10.0.0.1~vm.shop~d", "cluster": "vm.shop", "metadata": {"N": {"a": 1}}}


class Hearing:
    """Notes what is said; `hang_up` breaks the stream of that moment."""

    def __init__(self) -> None:
        self.said: asyncio.Queue[bytes] = asyncio.Queue()
        self.streams = 0
        self.hang_up = asyncio.Event()

    async def __call__(self, connection: Connection, stream: Stream) -> None:
        await accept(stream)
        self.streams += 1
        async with background(self._read(stream)):
            await self.hang_up.wait()
            self.hang_up.clear()
        connection.close()

    async def _read(self, stream: Stream) -> None:
        unpacker = Unpacker(1024 * 1024)
        try:
            while data := await stream.read():
                for body in unpacker.feed(data):
                    self.said.put_nowait(body)
        except StreamLostError:
            pass

    async def hear(self) -> tuple[str, str]:
        """Return the node and the error of the next request."""
        body = await asyncio.wait_for(self.said.get(), 20)
        request = relay_pb2.DeltaRequest.FromString(body)
        assert request.type_url == TYPE_URL
        return relay_pb2.Introduction.FromString(body).node.id, request.error_detail.message


async def test_the_latest_verdict_is_told_and_again_on_each_stream(tmp_path: Path) -> None:
    hearing, plane = Hearing(), ControlPlane(tmp_path)
    async with plane.serving():
        plane.behaviours = [hearing, refuses, hearing, *[refuses] * 1000]
        own = OwnStream(
            plane.target,
            lambda: "token",
            node=NODE,
            cluster_id="C",
            clock=SystemClock(),
            backoff=Backoff(first=0.01, limit=0.02),
        )
        telling = Telling(own)
        async with background(telling.run()):
            telling.say(Verdict(healthy=False, reason="status 500"))
            assert await hearing.hear() == (NODE["id"], "status 500")
            telling.say(Verdict(healthy=True))
            assert await hearing.hear() == ("", "")
            hearing.hang_up.set()
            assert await hearing.hear() == (NODE["id"], "")
            assert hearing.streams == 2
