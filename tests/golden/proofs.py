"""Proofs: which golden case shows that a field has effect, found by changing it there.

A field is proved by a case in which a document sets it, and what some proxy gets is another when
the field is taken out or changed and the document is still a good one. Cases that set few fields
come first, so that each field is proved by the case that is about it; but before them come cases
where the difference shows in the `out.yaml` that people reviewed. What is seen where a policy was
moved first has no `out.yaml`: `tests.golden.moved` writes those differences down.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain, islice
from typing import NamedTuple

from libs.api import documents
from libs.api.check import check_raw
from libs.api.resource import Resource
from libs.model.settings import MeshSettings
from libs.proxy.scoper import Scoper
from libs.translate.apply import Upsert, apply, initial
from libs.xds import generate
from libs.xds.types import NamedResource
from services.ctl.render import find, slices
from tests.golden import moves
from tests.golden.cases import Case, every
from tests.golden.mutants import Raw, Spot, mutants, pairs, spots

_MAX_SPOTS = 6
"""Of one field in one case that are tried."""
_MAX_DIFFERENCES = 2
"""Of one spot that are looked at for one that is shown."""

Key = tuple[str, str, str]
"""A proxy, and the type and name of a resource that it gets."""
Outcome = Mapping[Key, bytes]
"""What all proxies of a case get: the bodies of the resources."""
Difference = Mapping[Key, tuple[bytes | None, bytes | None]]
"""The bodies before and after of each resource that is another."""


class Proof(NamedTuple):
    """That a field has effect: where it was changed."""

    bench: "Bench"
    number: int
    spot: Spot
    shown: bool = False  # out.yaml would be another

    @property
    def case(self) -> str:
        """The case, by name."""
        return self.bench.case.name

    @property
    def moved(self) -> bool:
        """Whether the case's policy was put into another place first."""
        return self.bench.moved


class Bench:
    """One case, taken apart, so that documents can be exchanged."""

    def __init__(self, case: Case, documents: list[Raw], *, moved: bool = False) -> None:
        self.case = case
        self.moved = moved
        self.documents = documents
        self._resources = [check_raw(document)[0] for document in self.documents]

    def spots(self) -> Iterator[tuple[int, Spot]]:
        """Yield where the case sets fields, with the number of the document."""
        for number, document in enumerate(self.documents):
            if self._resources[number] is not None:
                yield from ((number, spot) for spot in spots(document))

    def needs(self, number: int) -> bool:
        """Tell whether some proxy would get something else without a document."""
        return self._outcome(number, None) != self.outcome

    def proves(self, number: int, spot: Spot) -> bool:
        """Tell whether another value at a spot, or none, changes what some proxy gets."""
        return any(True for _ in self.differences(number, spot))

    def shown(self, difference: Difference) -> bool:
        """Tell whether `out.yaml` would be another too."""
        return any(
            self._reviewed(key, before) != self._reviewed(key, after)
            for key, (before, after) in difference.items()
        )

    def differences(self, number: int, spot: Spot) -> Iterator[Difference]:
        """Yield what is different, for each value at a spot that makes a difference."""
        for resource in chain(
            good(self.documents[number], spot), together(self.documents[number], spot)
        ):
            found = self._outcome(number, resource)
            keys = sorted(found.keys() | self.outcome.keys())
            pairs = {key: (self.outcome.get(key), found.get(key)) for key in keys}
            different = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
            if different:
                yield different

    @property
    @cache  # noqa: B019 - benches live as long as the tests
    def outcome(self) -> Outcome:
        """What all proxies get."""
        return self._outcome(-1, None)

    def _outcome(self, number: int, instead: Resource | None) -> Outcome:
        found = self.rendered(number, instead)
        return {(proxy, it.type_url, it.name): it.body for proxy, it in found}

    def _reviewed(self, key: Key, body: bytes | None) -> object:
        _, type_url, name = key
        return None if body is None else self.case.reviewed(type_url, name, body)

    def rendered(
        self, number: int, instead: Resource | None
    ) -> Iterator[tuple[str, NamedResource]]:
        """Yield what each proxy gets if a document is another; -1: none is."""
        every_one = [
            instead if number == at else resource for at, resource in enumerate(self._resources)
        ]
        resources = [resource for resource in every_one if resource is not None]
        events = [Upsert(resource) for resource in (*resources, *slices(resources))]
        mesh = apply(initial(MeshSettings()), events).state.mesh
        scoper = Scoper()
        for name, metadata in self.case.proxies.items():
            snapshot = generate.snapshot(scoper.scope(mesh, find(mesh, name, metadata)))
            for whole in snapshot.sets.values():
                yield from ((name, it) for it in whole.resources.values())


def good(document: Raw, spot: Spot) -> Iterator[Resource]:
    """Yield the resources that the mutants of a document are, without those that are refused."""
    for mutant in mutants(document, spot):
        resource, _ = check_raw(mutant)
        if resource is not None:
            yield resource


def together(document: Raw, spot: Spot) -> Iterator[Resource]:
    """Yield resources in which two fields are others that mean nothing without each other."""
    for alone, both in pairs(document, spot):
        if check_raw(alone)[0] is not None:
            continue  # what the other field does by itself proves nothing of this one
        for mutant in both:
            resource, _ = check_raw(mutant)
            if resource is not None:
                yield resource


def _documents(case: Case) -> list[Raw]:
    (text,) = case.manifests.values()
    return [dict(found.raw) for found in documents.read(text, "in.yaml") if found.raw is not None]


def _moved(case: Case) -> Iterator[Bench]:
    """Yield the case with policies of DestinationRules at ports, and at subsets, instead."""
    documents = _documents(case)
    rules = [one for one in documents if one.get("kind") == "DestinationRule"]
    if not any(one["spec"].get("trafficPolicy") for one in rules):
        return
    for move in moves.MOVES:
        ports = moves.ports(documents)
        moved = [move(one, ports) if one in rules else one for one in documents]
        yield Bench(case, [*moved, *map(moves.routing, _led_to(moved))], moved=True)


def _led_to(documents: list[Raw]) -> Iterator[Raw]:
    """Yield the rules with a subset to which no routing of the case leads."""
    for one in documents:
        subsets = one["spec"].get("subsets", ()) if one["kind"] == "DestinationRule" else ()
        if any(subset["name"] == "moved" for subset in subsets) and "*" not in one["spec"]["host"]:
            yield one


@cache
def benches() -> list[Bench]:
    """Return all cases, those that set few fields first, those that were tampered with last."""
    found = [Bench(case, _documents(case)) for case in every()]
    found += (bench for case in every() for bench in _moved(case))
    return sorted(found, key=lambda bench: (bench.moved, sum(1 for _ in bench.spots())))


@cache
def proofs() -> Mapping[tuple[str, str], Proof]:
    """Return the proof of each field that has one, by kind and path."""
    found: dict[tuple[str, str], Proof] = {}
    for bench in benches():
        for (kind, path), tries in _tries(bench).items():
            known = found.get((kind, path))
            if known is None or not (known.shown or bench.moved):
                proof = _proof(bench, tries, known)
                if proof is not None:
                    found[kind, path] = proof
    return found


def _tries(bench: Bench) -> Mapping[tuple[str, str], list[tuple[int, Spot]]]:
    places: dict[tuple[str, str], list[tuple[int, Spot]]] = defaultdict(list)
    for number, spot in bench.spots():
        places[spot.kind, spot.path].append((number, spot))
    return {field: tries[:_MAX_SPOTS] for field, tries in places.items()}


def _proof(bench: Bench, tries: list[tuple[int, Spot]], known: Proof | None) -> Proof | None:
    """Return a better proof than what is known, if a case has one."""
    found = known
    for number, spot in tries:
        for difference in islice(bench.differences(number, spot), _MAX_DIFFERENCES):
            shown = not bench.moved and bench.shown(difference)
            if shown or bench.moved:
                return Proof(bench, number, spot, shown)
            found = found or Proof(bench, number, spot)
    return None if found is known else found


def unproved() -> Counter[tuple[str, str]]:
    """Return the fields that cases set, but none proves, with the number of places."""
    every_spot = (spot for bench in benches() for _, spot in bench.spots())
    return Counter((it.kind, it.path) for it in every_spot if (it.kind, it.path) not in proofs())
