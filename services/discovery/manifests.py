"""Manifests: the resources of a folder, by the files that write them.

For a resource counts the first document that writes it, by file name and place; as long as that
document is bad, the resource's last good state. A document that does not even say whose it is
keeps everything that its file wrote before, so that half a save takes nothing down.
A resource that is written twice is a problem of the later document.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from libs.api import reasons
from libs.api.check import located
from libs.api.documents import Document
from libs.api.problem import Problem
from libs.api.resource import Resource
from libs.model.ids import Ref
from libs.translate.apply import Event, Remove, Upsert
from services.discovery.endpoint_controller import Change, EndpointController
from services.discovery.reading import Entry, Reading


class Manifests:
    """Takes what files say, and gives what happened to resources."""

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._claims: dict[Ref, dict[str, list[Entry]]] = defaultdict(dict)  # by file
        self._twice: set[Ref] = set()
        self._good: dict[Ref, Resource] = {}
        self._endpoints = EndpointController()

    def update(self, readings: Mapping[str, Reading | None], observed: float) -> list[Event]:
        """Take what files say now (None: gone), and return what happened to resources by that."""
        touched: dict[Ref, None] = {}
        for name, reading in readings.items():
            touched |= self._file(name, reading)
        settled = {ref: self._settle(ref) for ref in touched}
        changes = {ref: change for ref, change in settled.items() if change}
        events = [_event(ref, change, observed) for ref, change in changes.items()]
        return events + self._endpoints.update(changes.values(), observed)

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the files themselves, with file and line."""
        for reading in self._readings.values():
            yield from reading.problems
        for ref in self._twice:
            yield from _duplicates(self._claims[ref])

    def located(self, problem: Problem) -> Problem:
        """Return a problem of a resource with the place where its field is written."""
        document = self._document(problem.ref)
        return located(problem, document) if document else problem

    def __len__(self) -> int:
        return len(self._good)

    def _document(self, ref: Ref) -> Document | None:
        entries = list(_in_order(self._claims.get(ref, {})))
        return entries[0].document if entries else None

    def _file(self, name: str, reading: Reading | None) -> dict[Ref, None]:
        """Exchange what a file says, and return the resources that it concerns."""
        before = self._readings.pop(name, Reading())
        after = _with_kept(before, reading) if reading else Reading()
        if reading:
            self._readings[name] = after
        touched = dict.fromkeys(entry.ref for entry in (*before.entries, *after.entries))
        for ref in touched:
            self._claims[ref].pop(name, None)
        for entry in after.entries:
            self._claims[entry.ref].setdefault(name, []).append(entry)
        for ref in touched:
            several = sum(map(len, self._claims[ref].values())) > 1
            (self._twice.add if several else self._twice.discard)(ref)
        return touched

    def _settle(self, ref: Ref) -> Change | None:
        """Decide what counts for a resource now; None if nothing has changed."""
        before = self._good.get(ref)
        first = next(_in_order(self._claims[ref]), None)
        if first is None:
            del self._claims[ref]
            self._good.pop(ref, None)
            return Change(before, None) if before is not None else None
        if first.resource is None or first.resource == before:
            return None
        self._good[ref] = first.resource
        return Change(before, first.resource)


def _event(ref: Ref, change: Change, observed: float) -> Event:
    return Remove(ref, observed) if change.after is None else Upsert(change.after, observed)


def _with_kept(before: Reading, after: Reading) -> Reading:
    """Keep what a file wrote before, if its new text does not let us know all that it writes."""
    if not after.partial:
        return after
    written = {entry.ref for entry in after.entries}
    kept = tuple(entry for entry in before.entries if entry.ref not in written)
    return Reading((*after.entries, *kept), after.problems, partial=True)


def _in_order(claims: Mapping[str, list[Entry]]) -> Iterator[Entry]:
    for name in sorted(claims):
        yield from claims[name]


def _duplicates(claims: Mapping[str, Iterable[Entry]]) -> Iterator[Problem]:
    entries = [entry for name in sorted(claims) for entry in claims[name]]
    for entry in entries[1:]:
        first, second = entries[0].document, entry.document
        text = (
            f"{entry.ref} is written in {first.file}:{first.line} and again in "
            f"{second.file}:{second.line}; the first one counts"
        )
        problem = Problem(entry.ref, "", reasons.DUPLICATE_RESOURCE, text)
        yield located(problem, second)
