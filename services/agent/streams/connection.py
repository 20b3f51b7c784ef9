"""Connection: one HTTP/2 connection on asyncio, and the streams on it.

`h2` decides, this moves bytes: one task reads the socket, whoever writes waits for the peer's
window and for the socket. What a stream has received and nobody has read yet is bounded by the
window that we grant: `read` grants the bytes of a chunk back only when the next one is asked for,
so a slow receiver slows its sender down. A peer that sends more than it was granted breaks the
protocol and loses the connection.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import Frame, GoAwayFrame

WINDOW = 256 * 1024
MAX_STREAMS = 100
_MAX_FRAME = 64 * 1024
_READ_SIZE = 64 * 1024

Headers = Sequence[tuple[str, str]]


class StreamLostError(Exception):
    """The stream or its connection ended before its end was sent."""


class Stream:
    """One request and its response."""

    def __init__(self, connection: "Connection", number: int) -> None:
        self._connection = connection
        self.number = number
        self.headers: Mapping[str, str] = {}
        self.trailers: Mapping[str, str] = {}
        self.answered = asyncio.Event()
        self.lost = ""
        self._chunks: deque[tuple[bytes, int]] = deque()
        self._ended = False
        self._granted = 0
        self._arrived = asyncio.Event()
        self.window_opened = asyncio.Event()

    async def read(self) -> bytes:
        """Return the next bytes; empty at the end, when `trailers` are complete.

        Raises:
            StreamLostError: the stream was reset or the connection was lost.

        """
        if self._granted:
            self._connection.grant(self.number, self._granted)
            self._granted = 0
        while not self._chunks:
            if self.lost:
                raise StreamLostError(self.lost)
            if self._ended:
                return b""
            self._arrived.clear()
            await self._arrived.wait()
        data, self._granted = self._chunks.popleft()
        return data

    async def write(self, data: bytes, *, end: bool = False) -> None:
        """Send `data` as the peer's window allows; return when the socket has taken it.

        Raises:
            StreamLostError: the stream was reset or the connection was lost.

        """
        await self._connection.send(self, data, end=end)

    async def respond(self, headers: Headers) -> None:
        """Send the headers of a response."""
        await self._connection.send_headers(self, headers, end=False)

    async def finish(self, trailers: Headers) -> None:
        """Send trailers, which end the stream."""
        await self._connection.send_headers(self, trailers, end=True)

    def received(self, data: bytes, flow: int) -> None:
        """Take in bytes; `flow` is what they cost of the window."""
        self._chunks.append((data, flow))
        self._arrived.set()

    def opened(self, headers: Mapping[str, str]) -> None:
        """Take in the first headers."""
        self.headers = headers
        self.answered.set()

    def ended(self) -> None:
        """The peer sent its last byte."""
        self._ended = True
        self.answered.set()
        self._arrived.set()

    def lose(self, reason: str) -> None:
        """No more will come or go."""
        self.lost = self.lost or reason
        self.answered.set()
        self._arrived.set()
        self.window_opened.set()


class _Patient(H2Connection):
    """Lets a peer that says GOAWAY finish its sentence.

    h2 closes its state machine then, and takes the PING that gRPC servers send right behind, or the
    rest of a message, for a breach of the protocol.
    """

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.last_stream_id = frame.last_stream_id
        return [], [event]


class Connection:
    """A connection, as client or as server. `run` reads it until it ends."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        client: bool,
        on_request: Callable[[Stream], None] | None = None,
        on_stream_gone: Callable[[Stream], None] | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._on_request = on_request
        self._on_stream_gone = on_stream_gone
        self._streams: dict[int, Stream] = {}
        self.leaving = asyncio.Event()
        """Set when the peer asked to go elsewhere, or the connection is lost."""
        self.heard = asyncio.Event()
        """Set whenever bytes arrive; who waits for a sign of life clears it."""
        self._h2 = _Patient(H2Configuration(client_side=client, header_encoding="utf-8"))
        self._h2.initiate_connection()
        # After the preface, which tells the values that hold and not those that are asked for.
        self._h2.update_settings(
            {
                SettingCodes.INITIAL_WINDOW_SIZE: WINDOW,
                SettingCodes.MAX_FRAME_SIZE: _MAX_FRAME,
                SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
                SettingCodes.MAX_HEADER_LIST_SIZE: 64 * 1024,
            }
        )
        self._h2.increment_flow_control_window(WINDOW * 4 - 65535)
        self._flush()

    async def run(self) -> None:
        """Read until either side closes; then every stream is lost."""
        reason = "the connection was closed"
        try:
            while data := await self._reader.read(_READ_SIZE):
                self.heard.set()
                for event in self._h2.receive_data(data):
                    self._handle(event)
                self._flush()
        except (ProtocolError, UnicodeDecodeError) as error:
            reason = f"the peer broke the protocol: {error}"
            self._flush()
        except OSError as error:
            reason = f"the connection was lost: {error}"
        finally:
            self._lose_all(reason)

    async def open(self, headers: Headers) -> Stream:
        """Send a request's headers and return its stream."""
        stream = Stream(self, self._h2.get_next_available_stream_id())
        self._streams[stream.number] = stream
        await self.send_headers(stream, headers, end=False)
        return stream

    async def send(self, stream: Stream, data: bytes, *, end: bool) -> None:
        """Send bytes of a stream; see `Stream.write`."""
        view = memoryview(data)
        while view:
            size = min(len(view), await self._window(stream), self._h2.max_outbound_frame_size)
            with self._losing(stream):
                self._h2.send_data(stream.number, bytes(view[:size]))
            view = view[size:]
            await self._drain(stream)
        if end:
            with self._losing(stream):
                self._h2.end_stream(stream.number)
            await self._drain(stream)

    async def send_headers(self, stream: Stream, headers: Headers, *, end: bool) -> None:
        """Send headers or trailers of a stream."""
        with self._losing(stream):
            self._h2.send_headers(stream.number, headers, end_stream=end)
        await self._drain(stream)

    def reset(self, stream: Stream, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """End a stream that is not over; nothing happens if it is."""
        with contextlib.suppress(ProtocolError):
            self._h2.reset_stream(stream.number, code)
            self._flush()
        self._forget(stream.number, "the stream was given up")

    def release(self, stream: Stream) -> None:
        """Forget a stream that is over on both sides."""
        self._streams.pop(stream.number, None)

    def grant(self, number: int, size: int) -> None:
        """Let the peer send `size` more bytes."""
        with contextlib.suppress(ProtocolError):  # a stream that is over needs no window
            self._h2.acknowledge_received_data(size, number)
            self._flush()

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._h2.ping(b"seine\0\0\0")
        self._flush()

    def close(self) -> None:
        """Say goodbye and close the socket."""
        with contextlib.suppress(ProtocolError):
            self._h2.close_connection()
            self._flush()
        self._writer.close()

    def abandon(self, reason: str) -> None:
        """Give the connection up without a word: the peer does not listen."""
        self._lose_all(reason)
        self._writer.transport.abort()

    def _handle(self, event: Event) -> None:
        if isinstance(event, RequestReceived):
            self._accept(event)
        elif isinstance(event, DataReceived):
            self._take_in(event)
        elif isinstance(event, ResponseReceived | TrailersReceived | StreamEnded | StreamReset):
            if stream := self._streams.get(event.stream_id or 0):
                self._deliver(stream, event)
        elif isinstance(event, ConnectionTerminated):
            self._lose_all("the peer asked to go elsewhere")
        else:
            self._wake_writers()

    def _accept(self, event: RequestReceived) -> None:
        stream = Stream(self, event.stream_id)
        stream.opened(_headers(event))
        self._streams[event.stream_id] = stream
        if self._on_request is not None:
            self._on_request(stream)

    def _take_in(self, event: DataReceived) -> None:
        if stream := self._streams.get(event.stream_id):
            stream.received(event.data, event.flow_controlled_length)
        else:
            self.grant(event.stream_id, event.flow_controlled_length)

    def _deliver(
        self,
        stream: Stream,
        event: ResponseReceived | TrailersReceived | StreamEnded | StreamReset,
    ) -> None:
        if isinstance(event, ResponseReceived):
            stream.opened(_headers(event))
        elif isinstance(event, TrailersReceived):
            stream.trailers = _headers(event)
        elif isinstance(event, StreamEnded):
            stream.ended()
        else:
            reason = f"the peer reset the stream: {_name(event.error_code)}"
            self._forget(stream.number, reason)

    def _wake_writers(self) -> None:
        """Any other event may have opened a window: a window update or new settings."""
        for stream in self._streams.values():
            stream.window_opened.set()

    async def _window(self, stream: Stream) -> int:
        while True:
            with self._losing(stream):
                if window := self._h2.local_flow_control_window(stream.number):
                    return window
            stream.window_opened.clear()
            await stream.window_opened.wait()

    @contextlib.contextmanager
    def _losing(self, stream: Stream) -> Iterator[None]:
        if stream.lost:
            raise StreamLostError(stream.lost)
        try:
            yield
        except ProtocolError as error:
            message = f"the stream is closed: {error}"
            raise StreamLostError(message) from error

    def _flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)

    async def _drain(self, stream: Stream) -> None:
        self._flush()
        try:
            await self._writer.drain()
        except OSError as error:
            message = f"the connection was lost: {error}"
            raise StreamLostError(message) from error
        if stream.lost:
            raise StreamLostError(stream.lost)

    def _forget(self, number: int, reason: str) -> None:
        if stream := self._streams.pop(number, None):
            stream.lose(reason)
            if self._on_stream_gone is not None:
                self._on_stream_gone(stream)

    def _lose_all(self, reason: str) -> None:
        self.leaving.set()
        for number in list(self._streams):
            self._forget(number, reason)


def _headers(event: RequestReceived | ResponseReceived | TrailersReceived) -> dict[str, str]:
    return {str(name): str(value) for name, value in event.headers or ()}


def _name(code: int | ErrorCodes | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else str(code)
