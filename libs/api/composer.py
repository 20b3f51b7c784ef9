"""Composer: the YAML of one document, as JSON-like data: dict, list, str, int, float, bool, None.

Built on libyaml's events with a stack of our own: no recursion, and nothing is looked at twice.
What is wrong is collected as Faults; the data that was complete before the first fatal one is kept,
so that a broken document can still be named.
"""

from msgspec import Struct
from yaml import YAMLError
from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from yaml.reader import ReaderError

from libs.api import reasons, yaml_scalars
from libs.api.path import Path, render
from libs.api.yaml_events import events, line

MAX_DEPTH = 64
"""Of mappings and lists in each other; the deepest field of any kind is at 15."""

MAX_NODES = 200_000
"""Of one document. Bounds the time of the densest document of a megabyte to under a second."""

MAX_FAULTS = 100


class Fault(Struct, frozen=True):
    """What cannot be read; `line` counts from 0 within the document."""

    line: int
    path: str
    reason: str
    text: str


class _Fatal(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


Container = dict[str, object] | list[object]


class Composer:
    """The state of composing one document; use it once."""

    def __init__(self) -> None:
        self.root: object = None
        self.faults: list[Fault] = []
        self._containers: list[Container] = []
        self._keys: list[str | None] = []
        self._nodes = 0

    def compose(self, data: bytes) -> object:
        """Read all of `data`; see `faults` before trusting the result."""
        event: Event | None = None
        try:
            for event in events(data):
                self._accept(event)
        except _Fatal as fatal:
            self._fault(event, fatal.reason, fatal.text)
        except (YAMLError, ValueError) as error:
            self.faults.append(_syntax_fault(error, data, self._path()))
        if self._containers:
            self.root = self._containers[0]
        return self.root

    def _accept(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._scalar(event)
        elif isinstance(event, MappingStartEvent):
            self._start({})
        elif isinstance(event, SequenceStartEvent):
            self._start([])
        elif isinstance(event, CollectionEndEvent):
            self._keys.pop()
            self._put(self._containers.pop())
        elif isinstance(event, AliasEvent):
            name = str(event.anchor)[:100]
            raise _Fatal(reasons.ALIAS, f"the alias *{name} is not accepted: write it out")

    def _scalar(self, event: ScalarEvent) -> None:
        self._count()
        text, top = event.value, self._containers
        try:
            if event.implicit[0]:
                value = yaml_scalars.resolve(text)
            else:
                value = yaml_scalars.tagged(text, event.tag) if event.tag else text
        except ValueError as error:
            self._fault(event, reasons.INVALID_YAML, str(error))
            value = text
        if top and isinstance(top[-1], dict) and self._keys[-1] is None:
            self._key(value, event)
        else:
            self._put(value)

    def _key(self, value: yaml_scalars.Scalar, event: ScalarEvent) -> None:
        if value == "<<" and event.implicit[0]:
            raise _Fatal(reasons.ALIAS, "merge keys and aliases are not accepted")
        try:
            key = yaml_scalars.key(value)
        except ValueError as error:
            raise _Fatal(reasons.INVALID_YAML, str(error)) from None
        self._keys[-1] = key
        if key in self._containers[-1]:
            self._fault(event, reasons.DUPLICATE_KEY, f"the key {key[:100]!r} is there twice")

    def _put(self, value: object) -> None:
        if not self._containers:
            self.root = value
            return
        top, key = self._containers[-1], self._keys[-1]
        if isinstance(top, list):
            top.append(value)
        elif key is not None:
            top[key] = value
            self._keys[-1] = None

    def _start(self, container: Container) -> None:
        self._count()
        if self._containers and isinstance(self._containers[-1], dict) and self._keys[-1] is None:
            raise _Fatal(reasons.INVALID_YAML, "a key must be a text, not a list or mapping")
        if len(self._containers) >= MAX_DEPTH:
            raise _Fatal(
                reasons.TOO_DEEP, f"more than {MAX_DEPTH} mappings and lists in each other"
            )
        self._containers.append(container)
        self._keys.append(None)

    def _count(self) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Fatal(reasons.TOO_LARGE, f"more than {MAX_NODES} values in one document")

    def _fault(self, event: Event | None, reason: str, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault(line(event), self._path(), reason, text))

    def _path(self) -> str:
        """Return where reading is; in what is deeper nested than anybody reads, what is around."""
        path: Path = None
        around = self._containers[:MAX_PATH]
        for container, key in zip(around, self._keys, strict=False):
            step = len(container) if isinstance(container, list) else key
            path = path if step is None else (path, step)
        return render(path)


MAX_PATH = 16
"""Levels of a path in what is told."""

_COLONS = frozenset({"found unexpected ':'", "did not find expected node content"})
"""What libyaml says of an IPv6 address within brackets; other parsers take some of them."""


def _syntax_fault(error: Exception, data: bytes, path: str) -> Fault:
    if isinstance(error, ReaderError):
        at = data.count(b"\n", 0, error.position)
        return Fault(at, path, reasons.INVALID_YAML, f"not text: {error.reason}")
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        text = ", ".join(filter(None, (error.problem, error.context)))
        if error.problem in _COLONS:
            text += "; put a text with colons, such as '::1', in quotes"
        return Fault(mark.line if mark else 0, path, reasons.INVALID_YAML, text)
    return Fault(0, path, reasons.INVALID_YAML, str(error)[:200])
