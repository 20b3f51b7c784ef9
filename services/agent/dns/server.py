"""Server: the port that the application's DNS queries are sent to, by UDP and TCP.

Names of the mesh are answered here, whether or not anything else can be reached; others are passed
on. Before the first table nobody knows which are which, and every query fails, so that no resolver
keeps a wrong answer. Queries of the mesh's names for other things than addresses are passed on
too, but a name of the mesh is never said not to exist.

At most MAX_CONNECTIONS are open, each for IDLE_SECONDS between queries; a further one is closed at
once. Datagrams that wait for a server are bounded by `upstream`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager

from libs.runtime.tasks import background
from services.agent import metrics
from services.agent.dns import messages
from services.agent.dns.messages import MessageError, Query
from services.agent.dns.names import Names
from services.agent.dns.upstream import Upstream, UpstreamError

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
IDLE_SECONDS = 10.0


class Answers:
    """Decides about each query."""

    def __init__(self, names: Callable[[], Names | None], upstream: Upstream) -> None:
        self._names = names
        self._upstream = upstream
        self._turn = 0

    def at_once(self, query: Query) -> bytes | None:
        """Return the response to a query that needs nobody else; None if it does."""
        metrics.DNS_REQUESTS.inc()
        if self._upstream.sent(query):
            logger.error("the agent's dns queries come back to it", extra={"host": query.name})
            return messages.failure(query, messages.REFUSED)
        names = self._names()
        if names is None:
            return messages.failure(query, messages.SERVFAIL)
        if not query.ordinary or query.kind not in {messages.A, messages.AAAA}:
            return None
        if found := names.find(query.name):
            addresses = self._rotated(found.host.of(query.kind))
            return messages.answer(query, addresses, alias=found.alias)
        return None

    def _rotated(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        """Begin with another address each time: most clients take the first."""
        self._turn += 1
        start = self._turn % max(len(addresses), 1)
        return addresses[start:] + addresses[:start]

    async def passed_on(self, query: Query, *, tcp: bool) -> bytes:
        """Return the response of the network's servers."""
        try:
            response = await self._upstream.ask(query, tcp=tcp)
        except UpstreamError as error:
            logger.info("dns query failed", extra={"host": query.name, "reason": str(error)})
            return messages.failure(query, messages.SERVFAIL)
        names = self._names()
        known = query.ordinary and names is not None and names.find(query.name)
        if known and messages.code(response) == messages.NXDOMAIN:
            return messages.exists(response)
        return response


@asynccontextmanager
async def serve(addresses: list[str], port: int, answers: Answers) -> AsyncIterator[int]:
    """Serve on all `addresses` until the block ends; yields the port, a free one if it is 0.

    Raises:
        OSError: an address cannot be bound; all but the first may be missing on this machine.

    """
    async with AsyncExitStack() as stack:
        group = await stack.enter_async_context(background())
        for index, address in enumerate(addresses):
            try:
                port = await _listen(stack, group, address, port=port, answers=answers)
            except OSError:
                if index == 0:
                    raise
                logger.info("no dns on this address", extra={"address": address})
        yield port


async def _listen(
    stack: AsyncExitStack, group: asyncio.TaskGroup, address: str, *, port: int, answers: Answers
) -> int:
    connections = _Connections(group, answers)
    listener = await asyncio.start_server(connections.connected, address, port)
    stack.callback(listener.close)
    port = int(listener.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(group, answers), local_addr=(address, port)
    )
    stack.callback(transport.close)
    return port


class _Datagrams(asyncio.DatagramProtocol):
    """Answers UDP."""

    def __init__(self, group: asyncio.TaskGroup, answers: Answers) -> None:
        self._group = group
        self._answers = answers
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            query = messages.parse(data)
        except MessageError:
            self._send(messages.malformed(data), addr)
            return
        response = self._answers.at_once(query)
        if response is None:
            self._spawn(self._pass_on(query, addr))
        else:
            self._send(messages.fitted(response, query), addr)

    async def _pass_on(self, query: Query, addr: tuple[str, int]) -> None:
        response = await self._answers.passed_on(query, tcp=False)
        self._send(response, addr)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        try:
            self._group.create_task(work)
        except RuntimeError:  # the agent is going
            work.close()

    def _send(self, response: bytes, addr: tuple[str, int]) -> None:
        if response and self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(response, addr)


class _Connections:
    """Answers TCP."""

    def __init__(self, group: asyncio.TaskGroup, answers: Answers) -> None:
        self._group = group
        self._answers = answers
        self._open = 0

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection, or close it if there are too many."""
        if self._open >= MAX_CONNECTIONS:
            writer.close()
            return
        self._open += 1
        task = self._group.create_task(self._serve(reader, writer))
        task.add_done_callback(self._closed)

    def _closed(self, _: asyncio.Task[None]) -> None:
        self._open -= 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while query := await _next(reader):
                response = self._answers.at_once(query)
                if response is None:
                    response = await self._answers.passed_on(query, tcp=True)
                async with asyncio.timeout(IDLE_SECONDS):
                    writer.write(len(response).to_bytes(2, "big") + response)
                    await writer.drain()
        except (OSError, EOFError, MessageError):
            pass  # a client that goes, is slow, or speaks something else
        finally:
            writer.close()


async def _next(reader: asyncio.StreamReader) -> Query | None:
    async with asyncio.timeout(IDLE_SECONDS):
        length = int.from_bytes(await reader.readexactly(2), "big")
        return messages.parse(await reader.readexactly(length))
