"""Manifests: the resources of a folder, by the files that write them.

For a resource counts the first document that writes it, by file name and place; as long as that
document is bad, the resource's last good state. A document that does not even say whose it is
keeps everything that its file wrote before, so that half a save takes nothing down.
A resource that is written twice is a problem of the later document.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from libs.api import reasons
from libs.api.documents import Document
from libs.api.kubernetes import EndpointSlice, Pod, Service
from libs.api.problem import Problem
from libs.api.resource import Resource
from libs.model.ids import Ref, parse_ref
from libs.translate import synthesis
from libs.translate.apply import Event, Remove, Upsert
from services.discovery.reading import Entry, Reading, located

_BEHIND_ENDPOINTS = (Service, Pod, EndpointSlice)


class Manifests:
    """Takes what files say, and gives what happened to resources."""

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._claims: dict[Ref, dict[str, list[Entry]]] = defaultdict(dict)  # by file
        self._good: dict[Ref, Resource] = {}
        self._namespaces: dict[str, dict[Ref, Resource]] = defaultdict(dict)
        self._made: dict[str, dict[Ref, EndpointSlice]] = defaultdict(dict)

    def update(self, readings: Mapping[str, Reading | None], observed: float) -> list[Event]:
        """Take what files say now (None: gone), and return what happened to resources by that."""
        touched: dict[Ref, None] = {}
        for name, reading in readings.items():
            touched |= self._file(name, reading)
        events = [event for ref in touched for event in self._settle(ref, observed)]
        namespaces = {parse_ref(event.ref)[1] for event in events if self._moves_endpoints(event)}
        for namespace in sorted(namespaces):
            events += self._synthesise(namespace, observed)
        return events

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with the files themselves, with file and line."""
        for reading in self._readings.values():
            yield from reading.problems
        for claims in self._claims.values():
            yield from _duplicates(claims)

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
        return touched

    def _settle(self, ref: Ref, observed: float) -> Iterator[Event]:
        """Decide what counts for a resource now."""
        first = next(_in_order(self._claims[ref]), None)
        if first is None:
            del self._claims[ref]
            if self._good.pop(ref, None) is not None:
                self._namespaces[parse_ref(ref)[1]].pop(ref, None)
                yield Remove(ref, observed)
        elif first.resource is not None and first.resource != self._good.get(ref):
            self._good[ref] = first.resource
            if isinstance(first.resource, _BEHIND_ENDPOINTS):
                self._namespaces[parse_ref(ref)[1]][ref] = first.resource
            yield Upsert(first.resource, observed)

    def _moves_endpoints(self, event: Event) -> bool:
        if isinstance(event, Upsert):
            return isinstance(event.resource, _BEHIND_ENDPOINTS)
        return parse_ref(event.ref)[0] in {kind.__name__ for kind in _BEHIND_ENDPOINTS}

    def _synthesise(self, namespace: str, observed: float) -> Iterator[Event]:
        """Stand in for Kubernetes' endpoint controller, which no folder has."""
        before = self._made[namespace]
        made = synthesis.slices(self._namespaces[namespace].values())
        after = {piece.ref: piece for piece in made if piece.ref not in self._good}
        self._made[namespace] = after
        for ref in before.keys() - after.keys() - self._good.keys():
            yield Remove(ref, observed)
        for ref, piece in after.items():
            if before.get(ref) != piece:
                yield Upsert(piece, observed)


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
