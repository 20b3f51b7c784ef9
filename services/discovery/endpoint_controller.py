"""Endpoint controller: stands in for Kubernetes' own, which no folder of manifests has.

A change of a service or of a slice concerns one service; a change of a pod, those that select it.
What the slices look like is decided in `libs.translate.synthesis`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from libs.api.kubernetes import EndpointSlice, Pod, Service
from libs.api.resource import Resource
from libs.model.ids import Ref
from libs.translate.apply import Event, Remove, Upsert
from libs.translate.synthesis import PodIndex, service_of, slices_of


class Change(NamedTuple):
    """What a resource was and is; None if it was not there or has gone."""

    before: Resource | None
    after: Resource | None


class Place(NamedTuple):
    """Namespace and name of a service."""

    namespace: str
    name: str


class EndpointController:
    """Makes the slices that services lack, as resources come and go."""

    def __init__(self) -> None:
        self._services: dict[Place, Service] = {}
        self._selecting: dict[tuple[str, str, str], set[Place]] = defaultdict(set)
        self._pods = PodIndex()
        self._written: dict[Place, set[Ref]] = defaultdict(set)
        self._made: dict[Place, dict[Ref, EndpointSlice]] = {}

    def update(self, changes: Iterable[Change], observed: float) -> list[Event]:
        """Take changes of resources, and return what happens to slices by that."""
        stale: set[Place] = set()
        for before, after in changes:
            stale.update(self._forget(before))
            stale.update(self._learn(after))
        return [event for place in sorted(stale) for event in self._settle(place, observed)]

    def _learn(self, resource: Resource | None) -> Iterator[Place]:
        if isinstance(resource, Service):
            place = _place(resource)
            self._services[place] = resource
            for label in _one_label(resource):
                self._selecting[label].add(place)
            yield place
        elif isinstance(resource, Pod):
            self._pods.add(resource)
            yield from self._candidates(resource)
        elif isinstance(resource, EndpointSlice):
            place = Place(resource.metadata.namespace, service_of(resource))
            self._written[place].add(resource.ref)
            yield place

    def _forget(self, resource: Resource | None) -> Iterator[Place]:
        if isinstance(resource, Service):
            place = _place(resource)
            self._services.pop(place, None)
            for label in _one_label(resource):
                self._selecting[label].discard(place)
            yield place
        elif isinstance(resource, Pod):
            self._pods.remove(resource)
            yield from self._candidates(resource)
        elif isinstance(resource, EndpointSlice):
            place = Place(resource.metadata.namespace, service_of(resource))
            self._written[place].discard(resource.ref)
            yield place

    def _candidates(self, pod: Pod) -> Iterator[Place]:
        """The services that may select a pod."""
        for name, value in pod.metadata.labels.items():
            yield from self._selecting.get((pod.metadata.namespace, name, value), ())

    def _settle(self, place: Place, observed: float) -> Iterator[Event]:
        before = self._made.pop(place, {})
        service = self._services.get(place)
        after: dict[Ref, EndpointSlice] = {}
        if service is not None and not self._written.get(place):
            made = slices_of(service, self._pods.selected_by(service))
            after = {piece.ref: piece for piece in made}
        if after:
            self._made[place] = after
        for ref in before.keys() - after.keys():
            yield Remove(ref, observed)
        for ref, piece in after.items():
            if before.get(ref) != piece:
                yield Upsert(piece, observed)


def _place(service: Service) -> Place:
    return Place(service.metadata.namespace, service.metadata.name)


def _one_label(service: Service) -> Iterator[tuple[str, str, str]]:
    """A label that every selected pod has; nothing without a selector."""
    if service.spec.selector:
        yield service.metadata.namespace, *min(service.spec.selector.items())
