"""Inotify: what changes in a directory tree, told by the Linux kernel at the moment it happens.

Written against the kernel's interface, because portable watchers wake up every few milliseconds to
look whether something has come, and because they tell of a file while it is still being written: a
shell's `>` would empty a file's resources for an instant. Here a file counts when its writer has
closed it, or when it was renamed into its place.

If the kernel drops events (its queue is bounded), the whole tree is reported as changed.
"""

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable, Iterator
from enum import IntFlag
from pathlib import Path

_READ_BYTES = 64 * 1024
_HEADER = struct.Struct("iIII")


class Event(IntFlag):
    """Bits of an event, from linux/inotify.h."""

    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    DELETE_SELF = 0x400
    MOVE_SELF = 0x800
    UNMOUNT = 0x2000
    OVERFLOW = 0x4000
    IGNORED = 0x8000
    ONLY_DIRECTORY = 0x1000000
    IS_DIRECTORY = 0x40000000


_WANTED = (
    Event.CLOSE_WRITE
    | Event.MOVED_FROM
    | Event.MOVED_TO
    | Event.CREATE
    | Event.DELETE
    | Event.DELETE_SELF
    | Event.MOVE_SELF
    | Event.ONLY_DIRECTORY
)
_ROOT_LOST = Event.DELETE_SELF | Event.MOVE_SELF | Event.UNMOUNT


class Inotify:
    """Watches a tree from `open` to `close`.

    `changed` is called on the event loop with each path that may have changed: a file, or a
    directory of which everything may have changed. `lost` is called once the tree itself is gone.
    """

    def __init__(
        self, root: Path, *, changed: Callable[[Path], None], lost: Callable[[], None]
    ) -> None:
        self._root = root
        self._changed = changed
        self._lost = lost
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = -1
        self._directories: dict[int, Path] = {}

    def open(self) -> None:
        """Begin; whatever happens from now on is told.

        Raises:
            OSError: the tree cannot be watched.

        """
        self._descriptor = self._call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            self._add(self._root)
            self._add_below(self._root)
        except OSError:
            os.close(self._descriptor)
            raise
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def close(self) -> None:
        """End; nothing is told any more."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _call(self, function: str, *arguments: object) -> int:
        result = int(getattr(self._libc, function)(*arguments))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(self._root))
        return result

    def _add(self, directory: Path) -> None:
        encoded = os.fsencode(directory)
        number = self._call("inotify_add_watch", self._descriptor, encoded, int(_WANTED))
        self._directories[number] = directory

    def _add_below(self, directory: Path) -> None:
        for parent, names, _ in os.walk(directory):
            for name in names:
                self._add_if_there(Path(parent, name))

    def _add_if_there(self, directory: Path) -> None:
        try:
            self._add(directory)
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return  # gone again, or unreadable: then nothing can be read below it either

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        for number, mask, name in _events(data):
            self._take(number, mask, name)

    def _take(self, number: int, mask: Event, name: bytes) -> None:
        if mask & Event.OVERFLOW:
            self._add_below(self._root)
            self._changed(self._root)
            return
        directory = self._directories.get(number)
        if directory is None:
            return
        if mask & Event.IGNORED:
            del self._directories[number]
        elif name:
            self._take_entry(directory / os.fsdecode(name), mask)
        elif mask & _ROOT_LOST and directory == self._root:
            self._lost()

    def _take_entry(self, path: Path, mask: Event) -> None:
        arrived = mask & (Event.CREATE | Event.MOVED_TO)
        if arrived and mask & Event.IS_DIRECTORY:
            self._add_if_there(path)
            self._add_below(path)
        elif mask & Event.CREATE and not _is_link(path):
            return  # an empty file, until its writer closes it
        self._changed(path)


def _events(data: bytes) -> Iterator[tuple[int, Event, bytes]]:
    at = 0
    while at < len(data):
        number, mask, _, length = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        yield number, Event(mask), data[at : at + length].rstrip(b"\0")
        at += length


def _is_link(path: Path) -> bool:
    """A link is complete when it is made: nobody writes to it and closes it."""
    try:
        return path.is_symlink() or path.lstat().st_nlink > 1
    except FileNotFoundError:
        return False
