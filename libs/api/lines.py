"""Lines: where each field of a YAML document is written.

A second walk over the events of a document that `libs.api.composer` has read already, within the
same limits; made only for documents that have a problem to show.
"""

import re

from yaml import YAMLError
from yaml.events import (
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from libs.api.composer import MAX_DEPTH, MAX_NODES
from libs.api.path import segment
from libs.api.yaml_events import events, line

_STEP = re.compile(r"\[[^\]]*\]|\.?[^.\[]+")


class Lines:
    """The lines of one document, as a tree that is walked along a path; counted from 0."""

    def __init__(self, data: bytes) -> None:
        self._root = _Place(0)
        self._frames: list[_Place] = [self._root]
        self._nodes = 0
        self._walk(data)

    def find(self, path: str) -> int:
        """Return the line of a field, or of the nearest enclosing one that is written.

        A field of a mapping is where its key is.
        """
        place = self._root
        for step in _STEP.findall(path):
            inner = place.inner.get(step if step.startswith("[") else "." + step.lstrip("."))
            if inner is None:
                break
            place = inner
        return place.line

    def _walk(self, data: bytes) -> None:
        try:
            for event in events(data):
                self._add(event)
                if len(self._frames) > MAX_DEPTH + 1 or self._nodes > MAX_NODES:
                    return
        except (YAMLError, ValueError):
            return  # of a broken document, what stands before the break

    def _add(self, event: Event) -> None:
        if isinstance(event, ScalarEvent):
            self._enter(event)
        elif isinstance(event, CollectionStartEvent):
            place = self._enter(event)
            place.is_mapping = isinstance(event, MappingStartEvent)
            self._frames.append(place)
        elif isinstance(event, CollectionEndEvent):
            self._frames.pop()

    def _enter(self, event: ScalarEvent | CollectionStartEvent) -> "_Place":
        """Return the place of the value that `event` begins; a key makes the place of its value."""
        self._nodes += 1
        frame = self._frames[-1]
        if self._nodes == 1:
            frame.line = line(event)
            return frame
        if frame.awaited is not None:
            place, frame.awaited = frame.awaited, None
            return place
        place = _Place(line(event))
        if frame.is_mapping and isinstance(event, ScalarEvent):
            frame.awaited = place
            frame.inner.setdefault(segment(event.value), place)
        else:
            frame.inner[segment(len(frame.inner))] = place
        return place


class _Place:
    __slots__ = ("awaited", "inner", "is_mapping", "line")

    def __init__(self, line: int) -> None:
        self.line = line
        self.inner: dict[str, _Place] = {}
        self.is_mapping = False
        self.awaited: _Place | None = None
