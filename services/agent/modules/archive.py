"""Archive: the file `plugin.wasm` out of a tar archive that comes in pieces.

Nothing else of the archive is kept or written anywhere, so neither names that lead out of a folder,
nor links, nor devices mean anything; headers of extensions are passed over as files are. That is
why this is not `tarfile`, which reads the extensions of an archive into memory whole.
"""

from collections.abc import AsyncIterator, Iterator

from services.agent.modules.errors import ModuleError

NAME = "plugin.wasm"

_BLOCK = 512
_NAME = slice(0, 100)
_SIZE = slice(124, 136)
_TYPE = slice(156, 157)
_FILES = frozenset({b"0", b"\0"})


async def plugin(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what the first `plugin.wasm` of an archive holds, in whatever folder it lies.

    Raises:
        ModuleError: there is none, or it breaks off, or this is no archive.

    """
    reader = _Reader()
    async for piece in pieces:
        for part in reader.feed(piece):
            yield part
    if not reader.complete:
        message = f"there is no {NAME} in the image" if not reader.found else f"{NAME} breaks off"
        raise ModuleError(message)


class _Reader:
    """Cuts an archive into headers and contents."""

    def __init__(self) -> None:
        self.found = False
        self._head = bytearray()
        self._left = 0  # bytes of a content that are still to come
        self._padding = 0
        self._wanted = False  # the content that is coming

    @property
    def complete(self) -> bool:
        return self.found and not (self._wanted and self._left)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield what `data` holds of the file."""
        position = 0
        while position < len(data):
            if self._left:
                part = data[position : position + self._left]
                self._left -= len(part)
                if self._wanted:
                    yield part
            elif self._padding:
                part = data[position : position + self._padding]
                self._padding -= len(part)
            else:
                part = data[position : position + _BLOCK - len(self._head)]
                self._head += part
                if len(self._head) == _BLOCK:
                    self._begin(bytes(self._head))
                    self._head.clear()
            position += len(part)

    def _begin(self, head: bytes) -> None:
        self._wanted = False
        if not any(head):
            return  # the end, or between archives
        self._left = _size(head[_SIZE])
        self._padding = -self._left % _BLOCK
        name = head[_NAME].partition(b"\0")[0].decode("utf-8", "replace")
        if not self.found and head[_TYPE] in _FILES and name.rpartition("/")[2] == NAME:
            self.found = self._wanted = True


def _size(written: bytes) -> int:
    """Return a size as archives write it: octal, or binary if it is large."""
    if written[0] & 0x80:
        return int.from_bytes(written[1:], "big")
    try:
        return int(written.strip(b"\0 ") or b"0", 8)
    except ValueError as error:
        message = "a layer of the image is no tar archive"
        raise ModuleError(message) from error
