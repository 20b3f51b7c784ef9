"""Messages: gRPC's length-prefixed messages in a stream of bytes that comes in arbitrary pieces."""

from collections.abc import Iterator

_PREFIX = 5  # one byte of flags, four of length


class MessageError(Exception):
    """The peer sent a message that is compressed or longer than allowed."""


def pack(message: bytes) -> bytes:
    """Return `message` with its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Counter:
    """Counts the messages of a stream without keeping them."""

    def __init__(self) -> None:
        self._prefix = b""
        self._left = 0  # bytes of the current message that are still to come

    def feed(self, data: bytes) -> int:
        """Return how many messages began, prefix complete, in `data`."""
        began = 0
        position = 0
        while position < len(data):
            if self._left:
                step = min(self._left, len(data) - position)
                self._left -= step
                position += step
                continue
            missing = _PREFIX - len(self._prefix)
            self._prefix += data[position : position + missing]
            position += missing
            if len(self._prefix) == _PREFIX:
                self._left = int.from_bytes(self._prefix[1:], "big")
                self._prefix = b""
                began += 1
        return began


class Unpacker:
    """Cuts a stream into messages; at most one of `limit` bytes is held."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages that `data` completes.

        Raises:
            MessageError: a message is compressed, which nobody asked for, or too long.

        """
        self._buffer += data
        while len(self._buffer) >= _PREFIX:
            length = int.from_bytes(self._buffer[1:_PREFIX], "big")
            if self._buffer[0] or length > self._limit:
                message = f"a message of {length} bytes, flags {self._buffer[0]}"
                raise MessageError(message)
            end = _PREFIX + length
            if len(self._buffer) < end:
                return
            complete = bytes(self._buffer[_PREFIX:end])
            del self._buffer[:end]
            yield complete
