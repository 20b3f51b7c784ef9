"""Server: a small HTTP/1.1 port for probes, scrapers and hooks.

At most MAX_CONNECTIONS are open, each for IDLE_SECONDS between requests, heads are bounded by h11,
and bodies of requests are read and thrown away up to MAX_BODY. A connection beyond the limit is
closed at once: kubelet and scrapers come back.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from ipaddress import ip_address

import h11
from msgspec import Struct

from libs.runtime.tasks import Group

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 64
MAX_BODY = 64 * 1024
IDLE_SECONDS = 60.0
ANSWER_SECONDS = 30.0
_MAX_HEAD = 16 * 1024

_PASSED_ON = "127.0.0.6"  # Envoy sends from here what came from outside
TEXT = "text/plain; charset=utf-8"


class Asked(Struct, frozen=True):
    """A request, its body left out."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]  # lower-case names
    local: bool
    """It came from inside the pod, and not by way of Envoy."""


class Answer(Struct, frozen=True):
    """A response; an iterator as body is sent as it comes."""

    status: int = 200
    body: bytes | AsyncIterator[bytes] = b""
    content_type: str = TEXT


Route = Callable[[Asked], Awaitable[Answer]]


def text(status: int, line: str) -> Answer:
    """Return a line of plain text."""
    return Answer(status, f"{line}\n".encode())


@asynccontextmanager
async def serve(host: str, port: int, route: Route) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port, which is a free one if `port` is 0.

    Raises:
        OSError: the address cannot be bound.

    """
    async with Group() as group:
        tasks: set[asyncio.Task[None]] = set()

        def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(tasks) >= MAX_CONNECTIONS:
                writer.close()
                return
            task = group.create_task(_Session(reader, writer, route).run())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        listener = await asyncio.start_server(connected, host, port)
        try:
            yield listener.sockets[0].getsockname()[1]
        finally:
            listener.close()
            for task in list(tasks):
                task.cancel()


class _Session:
    """One connection and the requests on it."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, route: Route
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._route = route
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD)

    async def run(self) -> None:
        try:
            while await self._exchange():
                self._h11.start_next_cycle()
        except (h11.ProtocolError, TimeoutError, OSError) as error:
            logger.debug("status connection ended", extra={"reason": str(error)})
        finally:
            self._writer.close()

    async def _exchange(self) -> bool:
        """Answer one request; tell whether another may follow."""
        async with asyncio.timeout(IDLE_SECONDS):
            request = await self._next()
            if not isinstance(request, h11.Request):
                return False
            await self._skip_body()
        answer = await self._ask(request)
        await self._reply(request, answer)
        return self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE

    async def _ask(self, request: h11.Request) -> Answer:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._route(self._asked(request))
        except TimeoutError:
            return text(504, "took too long")

    def _asked(self, request: h11.Request) -> Asked:
        path, _, query = request.target.decode("latin-1").partition("?")
        headers = {name.decode(): value.decode("latin-1") for name, value in request.headers}
        peer = self._writer.get_extra_info("peername")
        address = ip_address(peer[0].partition("%")[0])
        local = address.is_loopback and str(address) != _PASSED_ON
        return Asked(request.method.decode(), path, query, headers, local)

    async def _reply(self, request: h11.Request, answer: Answer) -> None:
        body = answer.body
        headers = [("Content-Type", answer.content_type)]
        if isinstance(body, bytes):
            headers.append(("Content-Length", str(len(body))))
        self._send(h11.Response(status_code=answer.status, headers=headers))
        if request.method != b"HEAD":
            async for chunk in _pieces(body):
                self._send(h11.Data(data=chunk))
                await self._writer.drain()
        self._send(h11.EndOfMessage())
        await self._writer.drain()

    async def _skip_body(self) -> None:
        size = 0
        while isinstance(event := await self._next(), h11.Data):
            size += len(event.data)
            if size > MAX_BODY:
                message = "the body is too long"
                raise h11.RemoteProtocolError(message)

    async def _next(self) -> object:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            self._h11.receive_data(await self._reader.read(16 * 1024))
        return event

    def _send(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        if data := self._h11.send(event):
            self._writer.write(data)


async def _pieces(body: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    async for chunk in body:
        yield chunk
