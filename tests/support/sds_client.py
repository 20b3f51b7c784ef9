"""Envoy's side of the agent's secrets: a stream on its socket, with Envoy's own messages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

from libs.runtime.tasks import background
from services.agent.sds import SdsServer
from services.agent.secrets import TYPE_URL, Secrets
from services.agent.streams import server
from services.agent.streams.connection import Connection, Stream
from services.agent.streams.messages import Unpacker, pack


@asynccontextmanager
async def stream(
    folder: Path,
    secrets: Secrets,
    method: str,
    *,
    on_accept: Callable[[str, str], None] = lambda _name, _version: None,
) -> AsyncIterator[Stream]:
    path = folder / "socket"
    async with server.serve(path, SdsServer(secrets, on_accept=on_accept).handlers):
        reader, writer = await asyncio.open_unix_connection(path)
        connection = Connection(reader, writer, client=True)
        async with background(connection.run()):
            yield await connection.open(
                (
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", method),
                    (":authority", "sds"),
                )
            )
            connection.close()
            await writer.wait_closed()


async def receive(opened: Stream) -> bytes:
    unpacker = Unpacker(100_000)
    while data := await asyncio.wait_for(opened.read(), 60):
        for message in unpacker.feed(data):
            return message
    return b""


async def ask(opened: Stream, *names: str, nonce: str = "", complaint: str = "") -> None:
    request = discovery_pb2.DiscoveryRequest(
        resource_names=names, type_url=TYPE_URL, response_nonce=nonce
    )
    if complaint:
        request.error_detail.message = complaint
    await opened.write(pack(request.SerializeToString()))


async def answer(opened: Stream) -> tuple[list[secret_pb2.Secret], str]:
    response = discovery_pb2.DiscoveryResponse.FromString(await receive(opened))
    assert response.type_url == TYPE_URL
    found = []
    for packed in response.resources:
        one = secret_pb2.Secret()
        assert packed.Unpack(one)
        found.append(one)
    return found, response.nonce
