"""Files: a directory tree of manifests as the source of configuration.

Every `.yaml`, `.yml` and `.json` file counts, save those with a hidden name on their way (editors'
swap files, the hidden folders of a mounted ConfigMap). What changes while the reader is busy is
collected and comes as one batch, read when it is asked for: there is no timer. Only a file that has
gone is looked for once more after `GONE_SECONDS`: git and some editors remove a file before they
write it anew, and what it says must not lapse meanwhile.

The set of changed paths is bounded by `MAX_CHANGED`; beyond it, the whole tree is read again.
"""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from libs.api.problem import Problem
from libs.model.ids import Ref
from libs.runtime.clock import Clock
from libs.translate.apply import Event
from services.discovery import metrics
from services.discovery.errors import SourceLostError
from services.discovery.inotify import Inotify

SUFFIXES = frozenset({".yaml", ".yml", ".json"})
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_CHANGED = 10_000
GONE_SECONDS = 0.2
EVENT_SIZE = 512
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe would have no end to wait for


class FileText(Struct, frozen=True):
    """The text of a file; or None, with why it cannot be read, or without if it has gone."""

    name: str
    text: str | None = None
    fault: str = ""


class Batch(Struct, frozen=True):
    """Files that have changed. `observed` is the wall time at which the first change was seen."""

    files: tuple[FileText, ...]
    observed: float
    events: tuple[Event, ...] = ()  # of what does not come from files
    problems: Mapping[Ref, tuple[Problem, ...]] = {}  # all there are with what has no file

    @property
    def size(self) -> int:
        """Characters to read, where an event counts as some hundred."""
        return sum(len(file.text or "") for file in self.files) + EVENT_SIZE * len(self.events)


class FileSource:
    """Gives all files of a tree, and then those that change. Make it with `watch`."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._known: set[Path] = set()
        self._changed: set[Path] = {root}
        self._observed = clock.now()
        self._lost = False
        self._just_gone: set[str] = set()
        self._events: dict[Ref, Event] = {}
        self._wake = asyncio.Event()
        self._wake.set()

    def note(self, path: Path) -> None:
        """Take note that a file, or anything below a directory, may have changed."""
        if not self._changed:
            self._observed = self._clock.now()
        if len(self._changed) >= MAX_CHANGED:
            metrics.FILE_OVERFLOWS.inc()
            self._changed = {self._root}
        self._changed.add(path)
        self._wake.set()

    def put(self, event: Event) -> None:
        """Have an event taken in with the next batch; of one resource, the last event counts."""
        if not self._changed and not self._events:
            self._observed = self._clock.now()
        self._events[event.ref] = event
        self._wake.set()

    def drained(self) -> Batch:
        """Return the events that have been put and were not taken in yet, and forget them."""
        events, self._events = self._events, {}
        return Batch((), self._clock.now(), tuple(events.values()))

    def note_lost(self) -> None:
        """Take note that the tree is gone."""
        self._lost = True
        self._wake.set()

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield the whole tree first, even if it is empty, then whatever changes.

        Raises:
            SourceLostError: the tree itself was removed, which is not to remove each file.

        """
        first = True
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._lost:
                raise SourceLostError(self._root)
            changed, self._changed = self._changed, set()
            events, self._events = self._events, {}
            observed = self._observed
            files = self._without_missed(await asyncio.to_thread(self._read, changed))
            if files or events or first:
                yield Batch(files, observed, tuple(events.values()))
            first = False

    def _without_missed(self, files: list[FileText]) -> tuple[FileText, ...]:
        """Return `files` without those that have just gone: they get another look."""
        missed, self._just_gone = self._just_gone, set()
        loop = asyncio.get_running_loop()
        for name in missed:
            loop.call_later(GONE_SECONDS, self.note, Path(name))
        return tuple(file for file in files if file.name not in missed)

    def _read(self, changed: set[Path]) -> list[FileText]:
        paths = {found for path in changed for found in self._expand(path)}
        return [self._file(path) for path in sorted(paths)]

    def _expand(self, path: Path) -> Iterator[Path]:
        """The manifests that a change of `path` may concern."""
        if path.name.startswith("..") and path != self._root:
            path = path.parent  # a mounted ConfigMap changes by swapping the link `..data`
        if path in self._known or path.is_file():
            if _is_manifest(path.relative_to(self._root)):
                yield path
            return
        yield from (known for known in self._known if path in known.parents)
        if path.is_dir():
            yield from _below(path)
        elif _is_manifest(path.relative_to(self._root)):
            yield path

    def _file(self, path: Path) -> FileText:
        try:
            text = _text(path)
        except (FileNotFoundError, NotADirectoryError):
            if path in self._known:
                self._known.discard(path)
                self._just_gone.add(str(path))
            return FileText(str(path))
        except OSError as error:
            self._known.add(path)
            return FileText(str(path), fault=error.strerror or str(error))
        self._known.add(path)
        return FileText(str(path), text)


@asynccontextmanager
async def watch(root: Path, clock: Clock) -> AsyncIterator[FileSource]:
    """Watch a tree while the block runs; nothing that changes from now on is missed.

    Raises:
        OSError: the tree cannot be watched.

    """
    source = FileSource(root, clock)
    inotify = Inotify(root, changed=source.note, lost=source.note_lost)
    inotify.open()
    try:
        yield source
    finally:
        inotify.close()


def _is_manifest(path: Path) -> bool:
    return path.suffix in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _below(directory: Path) -> Iterator[Path]:
    for parent, names, files in os.walk(directory):
        names[:] = [name for name in names if not name.startswith(".")]
        for name in files:
            if _is_manifest(Path(name)):
                yield Path(parent, name)


def _text(path: Path) -> str:
    """Return a file's text; bytes that are no text stay recognisable as such."""
    with os.fdopen(os.open(path, _FLAGS), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(0, "not a regular file")
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise OSError(0, f"larger than {MAX_FILE_BYTES} bytes")
    return data.decode(errors="surrogateescape")
