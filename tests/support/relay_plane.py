"""A control plane that misbehaves as it is told, for whoever follows its streams over TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from services.agent.streams.client import Target
from services.agent.streams.connection import Connection, Stream, StreamLostError
from services.agent.streams.server import fail
from tests.support.certificates import TestAuthority

NAME = "istiod.istio-system.svc"
Behaviour = Callable[[Connection, Stream], Awaitable[None]]


class ControlPlane:
    """Accepts TLS connections and behaves as it is told; each stream may be told differently."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = TestAuthority()
        self.behaviours: list[Behaviour] = []
        self.requests: list[Stream] = []
        self.port = 0
        self.certificate_name = NAME

    @property
    def target(self) -> Target:
        return Target(f"127.0.0.1:{self.port}", NAME, str(self._folder / "root.pem"))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            tasks: list[asyncio.Task[None]] = []

            def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                def requested(stream: Stream) -> None:
                    self.requests.append(stream)
                    behaviour = self.behaviours.pop(0)
                    tasks.append(group.create_task(_quietly(behaviour(connection, stream))))

                connection = Connection(reader, writer, client=False, on_request=requested)
                tasks.append(group.create_task(connection.run()))

            listener = await asyncio.start_server(
                connected, "127.0.0.1", self.port, ssl=self._context()
            )
            self.port = listener.sockets[0].getsockname()[1]
            try:
                yield
            finally:
                listener.close()
                for task in tasks:
                    task.cancel()

    def _context(self) -> ssl.SSLContext:
        made = self._authority.issue(
            "seine-config-push", "istio-system", dns_names=(self.certificate_name,)
        )
        (self._folder / "root.pem").write_bytes(made.roots)
        (self._folder / "server.pem").write_bytes(made.chain + made.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / "server.pem")
        context.set_alpn_protocols(["h2"])
        return context


async def _quietly(work: Awaitable[None]) -> None:
    try:
        await work
    except StreamLostError:
        return


async def refuses(_: Connection, stream: Stream) -> None:
    await stream.read()
    await fail(stream, 14, "not synced yet")
