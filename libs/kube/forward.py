"""Forward: a connection to a port of a pod, by way of the API server and the pod's kubelet.

The pod sees a connection from itself, so that pages which are for its own machine answer. Nothing
listens here meanwhile: a port on this machine would let everybody on it in. Others look for this as
`kubectl port-forward`.
"""

import asyncio
import http
import http.client
import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from libs.kube import channels
from libs.kube.channels import Channels
from libs.kube.client import Client
from libs.kube.errors import MalformedError, PageStatusError, UnreachableError

PAGE_SECONDS = 30.0
MAX_PAGE_BYTES = 256 * 1024 * 1024
"""Far above a dump of a large proxy, below what would end the process."""
MAX_LINE_BYTES = 16 * 1024 * 1024
_MAX_HEAD_BYTES = 64 * 1024
_DATA, _ERROR = 0, 1
_PORT_BYTES = 2


class Page(Struct, frozen=True):
    """What a port of a pod answered."""

    status: int
    body: bytes


class Forwarded:
    """A connection to a port. Make it with `forwarded`."""

    def __init__(self, streams: Channels) -> None:
        self._streams = streams
        # Either stream begins with the number of the port, which says nothing new.
        self._skip = {_DATA: _PORT_BYTES, _ERROR: _PORT_BYTES}

    async def write(self, data: bytes) -> None:
        """Send bytes; raises as `Channels.send`."""
        await self._streams.send(_DATA, data)

    async def read(self) -> bytes:
        """Return the next bytes; empty once the port's side has ended.

        Raises:
            UnreachableError: nobody listens there, in the kubelet's words.
            MalformedError: what came is not of this protocol.

        """
        while (found := await self._streams.receive()) is not None:
            channel, data = found
            skipped = min(self._skip.get(channel, 0), len(data))
            if skipped:
                self._skip[channel] -= skipped
                data = data[skipped:]
            if data and channel == _ERROR:
                raise UnreachableError(data.decode(errors="replace").strip())
            if data and channel == _DATA:
                return data
        return b""


@asynccontextmanager
async def forwarded(
    client: Client, namespace: str, pod: str, *, port: int
) -> AsyncIterator[Forwarded]:
    """Yield a connection to a port of a pod; raises as `channels.opened`."""
    params = [("ports", port)]
    async with channels.opened(
        client, namespace, pod, action="portforward", params=params
    ) as streams:
        yield Forwarded(streams)


async def get(client: Client, namespace: str, pod: str, *, port: int, path: str) -> Page:
    """Return the page that a pod has at a port, whatever its status is.

    Raises:
        UnreachableError: nobody answered, or not within 30 s.
        MalformedError: what answered is not HTTP, or too long.
        KubeError: as `channels.opened`.

    """
    try:
        async with (
            asyncio.timeout(PAGE_SECONDS),
            forwarded(client, namespace, pod, port=port) as found,
        ):
            await found.write(_request(path))
            return await _Answer(found).page()
    except TimeoutError as error:
        raise UnreachableError(f"no answer of port {port} within {PAGE_SECONDS:g} s") from error


async def lines(
    client: Client, namespace: str, pod: str, *, port: int, path: str, silence: float
) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a page that goes on, as they come; end the iterator with `aclose`.

    Empty lines only say that somebody is there: a pod that says nothing for `silence` seconds
    counts as gone.

    Raises:
        PageStatusError: the page's status is not 200.
        UnreachableError: nobody answered, or the connection ended or fell silent.
        MalformedError: what answered is not HTTP in chunks, or a line is too long.
        KubeError: as `channels.opened`.

    """
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(silence):
                found = await stack.enter_async_context(
                    forwarded(client, namespace, pod, port=port)
                )
                answer = _Answer(found)
                await found.write(_request(path))
                await answer.begin_chunks()
            while True:
                async with asyncio.timeout(silence):
                    line = await answer.line()
                if line is None:
                    raise UnreachableError("the page has ended")
                if line:
                    yield line
        except TimeoutError as error:
            text = f"nothing was heard of port {port} for {silence:g} s"
            raise UnreachableError(text) from error


def _request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii")


class _Answer:
    """One HTTP/1.1 answer, read up to its own end: connections through kubelets end late."""

    def __init__(self, found: Forwarded) -> None:
        self._found = found
        self._held = bytearray()
        self._begun = bytearray()  # a line whose end has not come

    async def page(self) -> Page:
        try:
            status, headers = await self._head()
            if _is_chunked(headers):
                return Page(status, await self._chunks())
            length = headers.get("Content-Length")
            return Page(status, await (self._rest() if length is None else self._take(int(length))))
        except (ValueError, IndexError, http.client.HTTPException) as error:
            raise MalformedError("the port does not speak HTTP") from error

    async def begin_chunks(self) -> None:
        """Read up to the first line of a page that goes on."""
        try:
            status, headers = await self._head()
        except (ValueError, IndexError, http.client.HTTPException) as error:
            raise MalformedError("the port does not speak HTTP") from error
        if status != http.HTTPStatus.OK:
            raise PageStatusError(status)
        if not _is_chunked(headers):
            raise MalformedError("the page does not go on")

    async def line(self) -> bytes | None:
        """Return the next line without its end; None once the page has ended."""
        while (at := self._begun.find(b"\n")) < 0:
            if len(self._begun) > MAX_LINE_BYTES:
                raise MalformedError(f"a line of more than {MAX_LINE_BYTES} bytes")
            try:
                chunk = await self._chunk()
            except ValueError as error:
                raise MalformedError("the port does not speak HTTP") from error
            if not chunk:
                return None
            self._begun += chunk
        found = bytes(self._begun[:at])
        del self._begun[: at + 1]
        return found

    async def _head(self) -> tuple[int, http.client.HTTPMessage]:
        head = io.BytesIO(await self._until(b"\r\n\r\n", _MAX_HEAD_BYTES))
        status = int(head.readline().split(b" ", 2)[1])
        return status, http.client.parse_headers(head)

    async def _chunks(self) -> bytes:
        whole = bytearray()
        while chunk := await self._chunk():
            whole += chunk
            _check(len(whole))
        return bytes(whole)

    async def _chunk(self) -> bytes:
        """Return the next chunk; empty after the last."""
        size = int((await self._until(b"\r\n", _MAX_HEAD_BYTES)).split(b";")[0], 16)
        if not size:
            return b""
        chunk = await self._take(size)
        await self._until(b"\r\n", _MAX_HEAD_BYTES)
        return chunk

    async def _rest(self) -> bytes:
        while data := await self._found.read():
            self._held += data
            _check(len(self._held))
        return bytes(self._held)

    async def _take(self, size: int) -> bytes:
        _check(size)
        while len(self._held) < size:
            await self._more()
        taken = bytes(self._held[:size])
        del self._held[:size]
        return taken

    async def _until(self, end: bytes, limit: int) -> bytes:
        """Return what comes up to `end`, with it."""
        looked = 0
        while (at := self._held.find(end, looked)) < 0:
            if len(self._held) > limit:
                raise MalformedError("the port does not speak HTTP")
            looked = max(len(self._held) - len(end), 0)
            await self._more()
        return await self._take(at + len(end))

    async def _more(self) -> None:
        data = await self._found.read()
        if not data:
            raise UnreachableError("the connection ended in the middle of the answer")
        self._held += data


def _is_chunked(headers: http.client.HTTPMessage) -> bool:
    return str(headers.get("Transfer-Encoding", "")).lower() == "chunked"


def _check(size: int) -> None:
    if not 0 <= size <= MAX_PAGE_BYTES:
        raise MalformedError(f"an answer of {size} bytes")
