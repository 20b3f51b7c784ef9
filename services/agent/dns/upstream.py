"""Upstream: queries for names outside the mesh, passed on to the network's own servers.

Each query leaves from a port of its own under a number of its own; an answer must come from the
server, with both, to the same question. Servers are asked in turn, ROUNDS times, each for
ATTEMPT_SECONDS. What comes by TCP is asked by TCP. A cut answer is passed on as it is: the client
asks again by TCP, and gets all.

At most MAX_IN_FLIGHT queries are under way; a further one fails at once and is counted as a
failure. A query of ours that arrives here again, because the interception rules do not know the
agent, is refused.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Sequence

from libs.runtime.clock import Clock
from services.agent import metrics
from services.agent.dns import messages
from services.agent.dns.messages import Query

ATTEMPT_SECONDS = 2.0
ROUNDS = 2
MAX_IN_FLIGHT = 256

Server = tuple[str, int]
"""Address and port."""


class UpstreamError(Exception):
    """No server answered; the message says why."""


class Upstream:
    """Asks the network's servers."""

    def __init__(
        self, servers: Sequence[Server], *, clock: Clock, attempt_seconds: float = ATTEMPT_SECONDS
    ) -> None:
        self._servers = servers
        self._clock = clock
        self._attempt_seconds = attempt_seconds
        self._under_way: set[tuple[int, bytes]] = set()

    def sent(self, query: Query) -> bool:
        """Tell whether a query is one of ours that came back."""
        return (query.number, query.question) in self._under_way

    async def ask(self, query: Query, *, tcp: bool) -> bytes:
        """Return a server's response to `query`, under its number.

        Raises:
            UpstreamError: there is none.

        """
        if len(self._under_way) >= MAX_IN_FLIGHT:
            metrics.DNS_UPSTREAM_FAILURES.inc()
            message = "too many queries are under way"
            raise UpstreamError(message)
        number = secrets.randbits(16)
        mark = (number, query.question)
        self._under_way.add(mark)
        metrics.DNS_UPSTREAM_REQUESTS.inc()
        began = self._clock.monotonic()
        try:
            response = await self._in_turn(query, number, tcp=tcp)
        finally:
            self._under_way.discard(mark)
            metrics.DNS_UPSTREAM_SECONDS.observe(self._clock.monotonic() - began)
        return messages.numbered(response, query.number)

    async def _in_turn(self, query: Query, number: int, *, tcp: bool) -> bytes:
        ask = _by_tcp if tcp else _by_udp
        broken = b""
        reason = "no servers are known"
        for server in list(self._servers) * ROUNDS:
            try:
                async with asyncio.timeout(self._attempt_seconds):
                    response = await ask(query, number, server)
            except (OSError, EOFError) as error:
                reason = f"{server[0]}: {str(error) or type(error).__name__}"
                continue
            if messages.code(response) not in {messages.SERVFAIL, messages.REFUSED}:
                return response
            broken = response  # another server may know
        if broken:
            return broken
        metrics.DNS_UPSTREAM_FAILURES.inc()
        raise UpstreamError(reason)


class _Asking(asyncio.DatagramProtocol):
    """Waits for the response to one query and takes no other for it."""

    def __init__(self, query: Query, number: int) -> None:
        self._query = query
        self._number = number
        self.response: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: object) -> None:
        del addr
        if messages.responds(data, self._query, self._number) and not self.response.done():
            self.response.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.response.done():
            self.response.set_exception(exc)


async def _by_udp(query: Query, number: int, server: Server) -> bytes:
    loop = asyncio.get_running_loop()
    transport, asking = await loop.create_datagram_endpoint(
        lambda: _Asking(query, number), remote_addr=server
    )
    try:
        transport.sendto(messages.numbered(query.raw, number))
        return await asking.response
    finally:
        transport.close()


async def _by_tcp(query: Query, number: int, server: Server) -> bytes:
    reader, writer = await asyncio.open_connection(*server)
    try:
        writer.write(len(query.raw).to_bytes(2, "big") + messages.numbered(query.raw, number))
        await writer.drain()
        length = int.from_bytes(await reader.readexactly(2), "big")
        response = await reader.readexactly(length)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if not messages.responds(response, query, number):
        message = "the server answered something else"
        raise OSError(message)
    return response
