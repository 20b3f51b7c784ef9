"""Selection: MeshConfig's `discoverySelectors`: only what is in the namespaces they select counts.

Resources of other namespaces are kept here, unseen, so that a namespace comes in at once when its
labels or the selectors change. The root namespace always counts: the mesh's own settings are there.
Without selectors everything counts, and nothing is kept.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from libs.api import mesh_config
from libs.api.kubernetes import ConfigMap, Namespace
from libs.api.label_selectors import matches
from libs.api.mesh_parts import LabelSelector
from libs.api.resource import Resource
from libs.model.ids import Ref, parse_ref, ref
from libs.translate.apply import Event, Remove, Upsert

Resources = Mapping[str, Mapping[Ref, Resource]]


class Selection:
    """Lets events through, or keeps them."""

    def __init__(self, root_namespace: str, config_map: str = mesh_config.NAME) -> None:
        self._root = root_namespace
        self._config = ref("ConfigMap", root_namespace, config_map)
        self._selectors: tuple[LabelSelector, ...] = ()
        self._labels: dict[str, Mapping[str, str]] = {}
        self._unseen: dict[str, dict[Ref, Upsert]] = defaultdict(dict)

    def __call__(self, events: Iterable[Event], seen: Resources) -> list[Event]:
        """Return the events that count; `seen` is what counted until now, by kind."""
        events = list(events)
        moved = [event for event in events if self._learn(event)]
        turned = list(self._turn(seen, moved)) if moved else []
        return turned + [event for event in events if self._counts(event)]

    def _learn(self, event: Event) -> bool:
        """Take note of selectors and labels; True if namespaces may have come or gone by it."""
        if event.ref == self._config:
            before, self._selectors = self._selectors, self._read(event)
            return before != self._selectors
        kind, _, name = parse_ref(event.ref)
        if kind != Namespace.__name__:
            return False
        old = self._labels.get(name)
        if isinstance(event, Upsert):
            self._labels[name] = event.resource.metadata.labels
        else:
            self._labels.pop(name, None)
        return bool(self._selectors) and old != self._labels.get(name)

    def _read(self, event: Event) -> tuple[LabelSelector, ...]:
        if not isinstance(event, Upsert) or not isinstance(event.resource, ConfigMap):
            return ()
        config, _ = mesh_config.read(event.resource)
        if config is None:
            return self._selectors  # it cannot be read: what was said before holds
        return config.discovery_selectors or ()

    def _turn(self, seen: Resources, moved: list[Event]) -> Iterator[Event]:
        """Bring in what counts from now on, and put away what does not any more."""
        observed = min(event.observed for event in moved)
        for namespace in [it for it in self._unseen if self._is_selected(it)]:
            for kept in self._unseen.pop(namespace).values():
                yield Upsert(kept.resource, observed)
        if not self._selectors:
            return
        for resources in seen.values():
            for place, resource in resources.items():
                namespace = resource.metadata.namespace
                if not self._is_selected(namespace):
                    self._unseen[namespace][place] = Upsert(resource, observed)
                    yield Remove(place, observed)

    def _counts(self, event: Event) -> bool:
        if not self._selectors:
            return True
        namespace = parse_ref(event.ref)[1]
        if self._is_selected(namespace):
            return True
        if isinstance(event, Upsert):
            self._unseen[namespace][event.ref] = event
        else:
            self._unseen[namespace].pop(event.ref, None)
        return False

    def _is_selected(self, namespace: str) -> bool:
        if not self._selectors or namespace in {"", self._root}:
            return True
        labels = self._labels.get(namespace)
        return labels is not None and any(matches(it, labels) for it in self._selectors)
