"""A webhook's HTTPS port with a certificate of a test's authority, and raw requests to it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

from aiohttp import web
from msgspec import Struct

from services.webhook import serving
from services.webhook.bodies import Bodies
from services.webhook.endpoint import Judge, endpoint
from services.webhook.serving import ServingCertificate
from tests.support.certificates import Certificate, TestAuthority

NAME = "istiod.istio-system.svc"
PATH = "/inject"


class Answer(Struct, frozen=True):
    """Status, body and TLS serial of the server."""

    status: int
    body: bytes
    serial: str = ""

    @property
    def json(self) -> dict[str, object]:
        return cast("dict[str, object]", json.loads(self.body))


class Port(Struct, frozen=True):
    """A running port, and how to call it."""

    number: int
    certificate: ServingCertificate
    authority: TestAuthority

    def issue(self) -> Certificate:
        return self.authority.issue("seine-webhook", "istio-system", dns_names=(NAME,))

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.issue().roots.decode())

    @asynccontextmanager
    async def connected(
        self, context: ssl.SSLContext | None = None
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.number, ssl=context or self.context(), server_hostname=NAME
        )
        try:
            yield reader, writer
        finally:
            writer.close()

    async def post(
        self,
        body: bytes,
        *,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        path: str = PATH,
        context: ssl.SSLContext | None = None,
    ) -> Answer:
        """Return the answer to one request on a connection of its own."""
        given = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        given |= headers or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
        async with self.connected(context) as (reader, writer):
            writer.write(f"{method} {path} HTTP/1.1\r\nHost: {NAME}\r\n{head}\r\n".encode())
            writer.write(body)
            return await answer(reader, writer)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Answer:
    """Return the next answer on a connection."""
    status = int((await reader.readline()).split()[1])
    length = 0
    while (line := await reader.readline()).strip():
        name, _, value = line.decode().partition(":")
        length = int(value) if name.lower() == "content-length" else length
    peer = writer.get_extra_info("ssl_object").getpeercert() or {}
    return Answer(status, await reader.readexactly(length), peer.get("serialNumber", ""))


@asynccontextmanager
async def port_of(
    judge: Judge,
    *,
    bodies: Bodies | None = None,
    max_connections: int = 512,
    client_roots: Path | None = None,
) -> AsyncIterator[Port]:
    """Serve a judge at `/inject` while the block runs."""
    authority = TestAuthority()
    certificate = ServingCertificate(client_roots)
    first = authority.issue("seine-webhook", "istio-system", dns_names=(NAME,))
    certificate.use(first.key, first.chain)
    handler = endpoint(judge, bodies or Bodies())
    routes = [web.post(PATH, handler), web.post(PATH + "/{rest:.*}", handler)]
    async with serving.serve(
        ("127.0.0.1", 0), routes, certificate, max_connections=max_connections
    ) as number:
        yield Port(number, certificate, authority)
