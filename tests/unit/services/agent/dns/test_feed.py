"""The stream of names against control planes that misbehave."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.protos.xds.v1 import relay_pb2
from libs.runtime.backoff import Backoff
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.agent.dns.feed import TYPE_URL, Feed
from services.agent.relay import METHODS
from services.agent.streams.connection import Connection, Stream, StreamLostError
from services.agent.streams.messages import Unpacker, pack
from services.agent.streams.server import accept
from tests.support.relay_plane import ControlPlane, refuses

NODE = {"id": "sidecar~10.0.0.1~web-1.shop~d", "cluster": "web.shop", "metadata": {"N": {"a": 1}}}


class Following:
    """A feed and everything that came of it."""

    def __init__(self, plane: ControlPlane) -> None:
        self.tables: asyncio.Queue[list[str]] = asyncio.Queue()
        self.feed = Feed(
            plane.target,
            lambda: "token",
            node=NODE,
            cluster_id="C",
            on_table=lambda table: self.tables.put_nowait(sorted(table.table)),
            clock=SystemClock(),
            backoff=Backoff(first=0.01, limit=0.02),
        )

    async def table(self) -> list[str]:
        return await asyncio.wait_for(self.tables.get(), 60)


class Serving:
    """Sends bodies as tables, notes what is said, and stays until told to hang up."""

    def __init__(self, *bodies: bytes, empty: bool = False) -> None:
        self.said: asyncio.Queue[bytes] = asyncio.Queue()
        self.hang_up = asyncio.Event()
        self._bodies = bodies
        self._empty = empty

    async def __call__(self, connection: Connection, stream: Stream) -> None:
        await accept(stream)
        async with background(self._read(stream)):
            for number, body in enumerate(self._bodies):
                message = relay_pb2.DeltaResponse(type_url=TYPE_URL, nonce=f"n{number}")
                if not self._empty:
                    found = message.resources.add(name="names", version=f"v{number}")
                    found.resource.value = body
                await stream.write(pack(message.SerializeToString()))
            await self.hang_up.wait()
        connection.close()

    async def _read(self, stream: Stream) -> None:
        unpacker = Unpacker(1024 * 1024)
        with contextlib.suppress(StreamLostError):
            while data := await stream.read():
                for body in unpacker.feed(data):
                    self.said.put_nowait(body)

    async def hear(self) -> relay_pb2.DeltaRequest:
        return relay_pb2.DeltaRequest.FromString(await asyncio.wait_for(self.said.get(), 60))

    async def hear_first(self) -> relay_pb2.Introduction:
        return relay_pb2.Introduction.FromString(await asyncio.wait_for(self.said.get(), 60))


def table(*hosts: str) -> bytes:
    made = NameTable()
    for host in hosts:
        made.table[host].ips.append("10.0.0.1")
    return made.SerializeToString()


@pytest.fixture
async def plane(tmp_path: Path) -> AsyncIterator[ControlPlane]:
    made = ControlPlane(tmp_path)
    async with made.serving():
        yield made


async def test_the_agent_introduces_itself_and_asks_for_the_type(plane: ControlPlane) -> None:
    serving = Serving(table("a"))
    plane.behaviours = [serving]
    following = Following(plane)
    async with background(following.feed.run()):
        assert await following.table() == ["a"]
        body = await serving.said.get()
        first = relay_pb2.Introduction.FromString(body)
        assert (first.node.id, first.node.cluster) == (NODE["id"], NODE["cluster"])
        assert first.node.metadata["N"]["a"] == 1
        asked = relay_pb2.DeltaRequest.FromString(body)
        assert (asked.type_url, list(asked.resource_names_subscribe)) == (TYPE_URL, [])
        assert (await serving.hear()).response_nonce == "n0"
        headers = plane.requests[0].headers
        assert (headers[":path"], headers["authorization"]) == (METHODS[0], "Bearer token")
        serving.hang_up.set()
        plane.behaviours = [refuses] * 1000


async def test_it_comes_back_with_the_version_that_it_has(plane: ControlPlane) -> None:
    before, after = Serving(table("a"), table("b")), Serving(table("c"))
    plane.behaviours = [refuses, before, refuses, after, *[refuses] * 1000]
    following = Following(plane)
    async with background(following.feed.run()):
        assert [await following.table(), await following.table()] == [["a"], ["b"]]
        assert not (await before.hear_first()).initial_resource_versions
        before.hang_up.set()
        assert await following.table() == ["c"]
        assert dict((await after.hear_first()).initial_resource_versions) == {"names": "v1"}


async def test_a_table_that_cannot_be_read_is_refused(plane: ControlPlane) -> None:
    serving = Serving(b"\xff\xff", table("a"))
    plane.behaviours = [serving]
    following = Following(plane)
    async with background(following.feed.run()):
        assert await following.table() == ["a"]
        await serving.hear()
        refusal, receipt = await serving.hear(), await serving.hear()
        assert (refusal.response_nonce, refusal.error_detail.code) == ("n0", 3)
        assert "not a table" in refusal.error_detail.message
        assert (receipt.response_nonce, receipt.error_detail.message) == ("n1", "")


async def test_no_names_at_all_is_an_answer_too(plane: ControlPlane) -> None:
    plane.behaviours = [Serving(b"", empty=True)]
    following = Following(plane)
    async with background(following.feed.run()):
        assert await following.table() == []
        assert following.tables.empty()


async def nonsense(_: Connection, stream: Stream) -> None:
    await accept(stream)
    await stream.write(pack(b"\xff\xff\xff"))
    await stream.read()


async def too_long(_: Connection, stream: Stream) -> None:
    await accept(stream)
    await stream.write(b"\0\xff\xff\xff\xff")
    await stream.read()


async def test_nonsense_ends_the_stream_and_not_the_agent(plane: ControlPlane) -> None:
    plane.behaviours = [nonsense, too_long, Serving(table("a"))]
    following = Following(plane)
    async with background(following.feed.run()):
        assert await following.table() == ["a"]
