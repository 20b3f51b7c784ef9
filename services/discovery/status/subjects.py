"""Subjects: the objects whose status is written, as the API server has them now.

Of each object only what a status needs is kept: where it is, which generation it is of, and the
conditions that it has. Conditions of other writers are kept as they are. Objects of other revisions
are no subjects; those of nobody are the default revision's.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from libs.api.registry import Kind
from libs.kube.follow import Change
from libs.model import revisions
from libs.model.ids import Ref, ref
from libs.runtime.clock import Clock
from services.discovery.revisions import LABEL
from services.discovery.status import managers
from services.discovery.status.sending import MANAGER

_GROUPS = ".istio.io"

Conditions = tuple[dict[str, Any], ...]


class Subject(Struct, frozen=True):
    """One object. `seen` is when its generation was first seen: wall seconds."""

    ref: Ref
    path: str  # of its status
    generation: int
    version: str  # its resourceVersion
    conditions: Conditions
    seen: float
    others: str = ""
    """Who else has written conditions."""


class _Metadata(Struct, frozen=True, rename="camel"):
    labels: dict[str, str] | None = None
    generation: int = 0
    resource_version: str = ""
    managed_fields: managers.Entries | None = None


class _Status(Struct, frozen=True):
    conditions: Conditions | None = None


class _Object(Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    status: _Status | None = None


_DECODER = msgspec.json.Decoder(_Object)


class Subjects:
    """All subjects; `note` is called with each that comes or moves."""

    def __init__(
        self, clock: Clock, note: Callable[[Ref], None], revision: str = revisions.DEFAULT
    ) -> None:
        self._clock = clock
        self._note = note
        self._revision = revision
        self.manager = revisions.named(MANAGER, revision)
        """Under which name conditions are written."""
        self._known: dict[Ref, Subject] = {}
        self.others: list[Callable[[Kind, Sequence[Change]], None]] = []
        """Who else is told of all objects."""

    def __iter__(self) -> Iterator[Ref]:
        return iter(list(self._known))

    def get(self, reference: Ref) -> Subject | None:
        """Return a subject, or None if it has gone, or is of a kind without a status of ours."""
        return self._known.get(reference)

    def take(self, kind: Kind, changes: Sequence[Change]) -> None:
        """Take note of objects of a kind."""
        for take in self.others:
            take(kind, changes)
        if not kind.group.endswith(_GROUPS):
            return
        for change in changes:
            place = ref(kind.name, change.name.namespace, change.name.name)
            subject = self._read(kind, change, place) if change.raw is not None else None
            if subject is None:
                self._known.pop(place, None)
            else:
                self._known[place] = subject
            self._note(place)

    def _read(self, kind: Kind, change: Change, place: Ref) -> Subject | None:
        found = _decoded(change.raw)
        if found is None or not self._may_judge(found.metadata):
            return None
        before = self._known.get(place)
        same = before is not None and before.generation == found.metadata.generation
        name = change.name
        folder = f"/apis/{kind.group}/{kind.versions[0]}/namespaces/{name.namespace}/{kind.plural}"
        return Subject(
            ref=place,
            path=f"{folder}/{name.name}/status",
            generation=found.metadata.generation,
            version=found.metadata.resource_version,
            conditions=(found.status and found.status.conditions) or (),
            seen=before.seen if same and before is not None else self._clock.now(),
            others=managers.others(_writers(found.metadata), self.manager),
        )

    def _may_judge(self, metadata: _Metadata) -> bool:
        """What is given to no revision has its status from the default one, or two would fight."""
        given = (metadata.labels or {}).get(LABEL)
        return bool(given) or revisions.is_default(self._revision)


def _writers(metadata: _Metadata) -> list[str]:
    return managers.writers(metadata.managed_fields, "f:conditions")


def _decoded(raw: Raw | None) -> _Object | None:
    """Return what is read of an object; None if somebody wrote a status of another shape."""
    try:
        return _DECODER.decode(raw or b"")
    except (msgspec.MsgspecError, RecursionError):
        return None
