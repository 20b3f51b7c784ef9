"""Splitter: finds responses about extensions in a stream that is else passed on in pieces.

The control plane writes the type of a response first, so that its first bytes tell. What is not
about extensions is passed on as it comes; a response that is must be held until it is whole. At
most one of MAX_HELD bytes is held; a longer one ends the stream. A control plane that writes the
type later gets its responses passed on as they are.
"""

from collections.abc import Iterator

from msgspec import Struct

from services.agent.streams.messages import MessageError

TYPE_URL = "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig"
MAX_HELD = 8 * 1024 * 1024

_PREFIX = 5
_HEAD = bytes((4 << 3 | 2, len(TYPE_URL))) + TYPE_URL.encode()  # field 4, a text


class Piece(Struct, frozen=True):
    """Bytes to pass on; `ends` tells that a message is complete with them."""

    data: bytes
    ends: bool


class Held(Struct, frozen=True):
    """A whole response about extensions, without its prefix."""

    message: bytes


class Splitter:
    """Cuts the bytes of a stream at the bounds of messages."""

    def __init__(self) -> None:
        self._start = bytearray()  # of a message that is not known yet
        self._left = 0  # bytes of a message that is being passed on
        self._held = False

    def feed(self, data: bytes) -> Iterator[Piece | Held]:
        """Yield what `data` completes or continues.

        Raises:
            MessageError: a response about extensions is too long.

        """
        while data:
            if self._left:
                piece, data = data[: self._left], data[self._left :]
                self._left -= len(piece)
                yield Piece(piece, ends=not self._left)
                continue
            self._start += data
            data = b""
            found = self._decided()
            if found is not None:
                data = bytes(self._start)
                self._start.clear()
                length = _PREFIX + int.from_bytes(data[1:_PREFIX], "big")
                if found:
                    yield Held(data[_PREFIX:length])
                    data = data[length:]
                else:
                    self._left = length

    def _decided(self) -> bool | None:
        """Tell whether the message at the start is held; None until that can be told."""
        start = self._start
        if len(start) < _PREFIX:
            return None
        length = int.from_bytes(start[1:_PREFIX], "big")
        head = bytes(start[_PREFIX : _PREFIX + len(_HEAD)])
        if start[0] or length < len(_HEAD) or not _HEAD.startswith(head):
            return False
        if head != _HEAD:
            return None
        if length > MAX_HELD:
            message = f"a response about extensions has {length} bytes"
            raise MessageError(message)
        return True if len(start) >= _PREFIX + length else None
