"""Mesh maps: the ConfigMaps with the mesh's settings, followed by name and given as one.

Translation knows one ConfigMap, that of this control plane's revision. What revisions share lies
beneath it (`libs.api.mesh_layers`). A text that has become wrong leaves what it said before in
force, and so do two that are wrong only together.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from libs.api import mesh_config
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_layers import Layers
from libs.api.problem import Problem, Severity
from libs.api.registry import Kind
from libs.kube.collection import Collection, of_kind
from libs.model.ids import ref
from libs.translate.apply import Remove, Upsert
from services.discovery.objects import Found


class MeshMaps:
    """Lays ConfigMaps over each other as they come."""

    def __init__(self, namespace: str, own: str = mesh_config.NAME, shared: str = "") -> None:
        """`shared` is empty if there is none."""
        self._namespace = namespace
        self._own = own
        self._shared = shared if shared != own else ""
        self._layers = Layers()
        self._of_own: tuple[Problem, ...] = ()

    def collections(self, kind: Kind) -> Sequence[Collection]:
        """Return what to follow; a selection by name is of one object each."""
        return [self._collection(kind, name) for name in (self._own, self._shared) if name]

    def _collection(self, kind: Kind, name: str) -> Collection:
        selector = f"metadata.name={name}"
        found = of_kind(kind, namespace=self._namespace, field_selector=selector)
        return found if name == self._own else replace(found, name=f"{found.name}/{name}")

    def lay(self, found: Found) -> list[Found]:
        """Return what one of the ConfigMaps comes to: settings as a whole, and problems of each."""
        told: list[Found] = []
        resource = found.event.resource if isinstance(found.event, Upsert) else None
        if found.ref == ref(ConfigMap.__name__, self._namespace, self._own):
            self._of_own = found.problems
            if found.event is not None:
                self._layers.own = resource if isinstance(resource, ConfigMap) else None
        else:
            found = _judged(found)
            told.append(replace(found, event=None))
            if found.event is not None:
                self._layers.shared = resource if isinstance(resource, ConfigMap) else None
        return [*told, self._together(found)]

    def _together(self, found: Found) -> Found:
        place = ref(ConfigMap.__name__, self._namespace, self._own)
        if found.event is None:
            return Found(place, None, self._of_own)
        observed = found.event.observed
        together = self._layers.together(self._namespace, self._own)
        if together is None:
            return Found(place, Remove(place, observed), self._of_own)
        problems = mesh_config.read(together)[1] if self._layers.shared else []
        wrong = tuple(it for it in problems if it.severity is Severity.ERROR)
        event = None if wrong else Upsert(together, observed)
        return Found(place, event, (*self._of_own, *wrong))


def _judged(found: Found) -> Found:
    """Return a ConfigMap of any name, judged as one with settings of the mesh."""
    if not isinstance(found.event, Upsert) or not isinstance(found.event.resource, ConfigMap):
        return found
    problems = tuple(mesh_config.read(found.event.resource)[1])
    failed = any(it.severity is Severity.ERROR for it in problems)
    return Found(found.ref, None if failed else found.event, problems)
