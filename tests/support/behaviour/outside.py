"""Outside: servers that are no workloads of the mesh, at addresses `127.110.4.*`.

`api` (41) speaks plain HTTP on 8080 and TLS as `api.example.com` on 8443; `strict` (42) asks TLS
clients for a certificate; `proxied` (43) wants a PROXY header before each connection, and shows it
to applications as the header `x-proxied`; `tunnel` (44) takes CONNECT on 3128 and leads to `api`;
`full` (47) never accepts on 8080 and 9000, and its queues are full.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from msgspec import Struct

from tests.support.behaviour.wire import Applications, Seen, application
from tests.support.certificates import Certificate, TestAuthority

NUMBERS = {
    "api": 41,
    "strict": 42,
    "proxied": 43,
    "tunnel": 44,
    "collector": 45,
    "judge": 46,
    "full": 47,
}
PLAIN, SECURE, TUNNEL, BYTES = 8080, 8443, 3128, 9000
_WAITING = 64  # more than a queue of none holds
_V2 = b"\r\n\r\n\0\r\nQUIT\n"


Handle = Callable[
    ["Outside", asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]
]


class Outside(Struct, frozen=True):
    """Where the servers stand, and whose certificates they show and believe."""

    block: str
    folder: Path
    authority: TestAuthority
    applications: Applications

    def address(self, name: str) -> str:
        """Return the address of a server."""
        return f"{self.block}4.{NUMBERS[name]}"

    def write_files(self) -> None:
        """Write the files that DestinationRules name: roots, and a client's certificate."""
        client = self.authority.issue("partner")
        (self.folder / "roots.pem").write_bytes(client.roots)
        (self.folder / "chain.pem").write_bytes(client.chain)
        (self.folder / "key.pem").write_bytes(client.key)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Run the servers."""
        self.write_files()
        api = self.authority.issue("api", dns_names=("api.example.com",))
        strict = self.authority.issue("strict", dns_names=("strict.example.com",))
        contexts = {
            "api": server_context(api, self.folder),
            "strict": server_context(strict, self.folder, api.roots),
        }
        async with AsyncExitStack() as stack:
            for name, context in contexts.items():
                await stack.enter_async_context(
                    application(
                        self.applications,
                        name,
                        address=self.address(name),
                        ports=(PLAIN, SECURE),
                        tls={SECURE: context},
                    )
                )
            await stack.enter_async_context(self._server("proxied", PLAIN, _behind_proxy))
            await stack.enter_async_context(self._server("tunnel", TUNNEL, _connect))
            for port in (PLAIN, BYTES):
                stack.enter_context(_full((self.address("full"), port)))
            yield

    @asynccontextmanager
    async def _server(self, name: str, port: int, handle: Handle) -> AsyncIterator[None]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handle(self, reader, writer)
            except (OSError, EOFError):
                pass  # the other side has gone
            finally:
                writer.close()

        server = await asyncio.start_server(serve, self.address(name), port)
        try:
            yield
        finally:
            server.close()


@contextmanager
def _full(address: tuple[str, int]) -> Iterator[None]:
    """Hold a port where nobody accepts, and what fills its queue.

    Linux drops what comes for a full queue, so that whoever connects there waits.
    """
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(0)
        for _ in range(_WAITING):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(address)
        yield


def server_context(certificate: Certificate, folder: Path, roots: bytes = b"") -> ssl.SSLContext:
    """Return a TLS server that proves `certificate`, and asks for one of `roots` if there are."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = folder / "server.pem"
    path.write_bytes(certificate.chain + certificate.key)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if roots:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=roots.decode())
    return context


async def _behind_proxy(
    outside: Outside, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one request that comes after a PROXY header, with what the header said."""
    first = await reader.readuntil(b"\n")
    if first.startswith(b"PROXY "):
        told = f"v1 {first.split()[2].decode()}"
    elif first == b"\r\n":
        rest = await reader.readexactly(14)
        assert first + rest[:10] == _V2[: len(first + rest[:10])], rest
        addresses = await reader.readexactly(int.from_bytes(rest[12:14], "big"))
        told = "v2 " + ".".join(map(str, addresses[:4]))
    else:
        return
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = dict(line.lower().split(": ", 1) for line in head.strip().split("\r\n")[1:])
    seen = Seen("proxied", "GET", "/", lines["host"], "HTTP/1.1", {**lines, "x-proxied": told})
    await outside.applications.note(seen)
    writer.write(b"HTTP/1.1 200 OK\r\nx-by: proxied\r\ncontent-length: 2\r\n\r\n{}")
    await writer.drain()


async def _connect(
    outside: Outside, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Lead a connection to `api`, whatever name it asks for, and say so in its header."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    method, target, _ = head.split(" ", 2)
    port = int(target.rpartition(":")[2])
    if method != "CONNECT":
        return
    await outside.applications.note(Seen("tunnel", method, target, target, "HTTP/1.1", {}))
    onward = await asyncio.open_connection(outside.address("api"), port)
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    await writer.drain()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_pipe(reader, onward[1]))
        tasks.create_task(_pipe(onward[0], writer))


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
