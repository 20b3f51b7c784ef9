"""Which namespaces count, told by events in and out."""

from collections.abc import Iterable

from libs.api.kubernetes import ConfigMap, Namespace, Service
from libs.api.resource import Metadata, Resource
from libs.model.ids import Ref
from libs.translate.apply import Event, Remove, Upsert
from services.discovery.selection import Selection

ROOT = "istio-system"
PROD = "discoverySelectors: [{matchLabels: {env: prod}}]"


class World:
    """A selection, and what counts by its events."""

    def __init__(self) -> None:
        self._selection = Selection(ROOT)
        self.seen: dict[str, dict[Ref, Resource]] = {}

    def take(self, *events: Event) -> None:
        for event in self._selection(events, self.seen):
            kind = self.seen.setdefault(event.ref.split("/")[0], {})
            if isinstance(event, Upsert):
                kind[event.ref] = event.resource
            else:
                assert kind.pop(event.ref, None), "what was never seen cannot go"

    @property
    def services(self) -> set[str]:
        found: Iterable[Resource] = self.seen.get("Service", {}).values()
        return {it.metadata.namespace for it in found}


def _namespace(name: str, **labels: str) -> Upsert:
    return Upsert(Namespace(Metadata(name, labels=labels)))


def _service(namespace: str) -> Upsert:
    return Upsert(Service(Metadata("web", namespace)))


def _config(text: str) -> Upsert:
    return Upsert(ConfigMap(Metadata("istio", ROOT), {"mesh": text}))


def _world(*events: Event) -> World:
    world = World()
    world.take(_namespace("a", env="prod"), _namespace("b", env="test"), _namespace(ROOT))
    world.take(_service("a"), _service("b"), _service(ROOT))
    world.take(*events)
    return world


def test_without_selectors_everything_counts() -> None:
    assert _world().services == {"a", "b", ROOT}


def test_selectors_put_the_others_away_but_never_the_root() -> None:
    assert _world(_config(PROD)).services == {"a", ROOT}


def test_all_in_one_batch_comes_to_the_same() -> None:
    world = World()
    world.take(
        _service("a"), _service("b"), _config(PROD), _namespace("b"), _namespace("a", env="prod")
    )
    assert world.services == {"a"}


def test_a_label_brings_a_namespace_in_and_out() -> None:
    world = _world(_config(PROD))
    world.take(_namespace("b", env="prod"))
    assert world.services == {"a", "b", ROOT}
    world.take(_namespace("a"))
    assert world.services == {"b", ROOT}


def test_what_changes_unseen_is_new_when_it_comes_in() -> None:
    world = _world(_config(PROD))
    later = Upsert(Service(Metadata("web", "b", labels={"v": "2"})))
    world.take(later)
    assert world.services == {"a", ROOT}
    world.take(_namespace("b", env="prod"))
    assert world.seen["Service"][later.ref] == later.resource


def test_what_goes_unseen_does_not_come_in() -> None:
    world = _world(_config(PROD))
    world.take(Remove(_service("b").ref))
    world.take(_config(""))
    assert world.services == {"a", ROOT}


def test_without_selectors_again_everything_is_back() -> None:
    world = _world(_config(PROD))
    world.take(Remove(_config("").ref))
    assert world.services == {"a", "b", ROOT}


def test_a_config_that_cannot_be_read_changes_nothing() -> None:
    world = _world(_config(PROD))
    world.take(_config("discoverySelectors: 7"))
    assert world.services == {"a", ROOT}


def test_a_namespace_that_goes_does_not_count() -> None:
    world = _world(_config(PROD))
    world.take(Remove(_namespace("a").ref))
    assert world.services == {ROOT}


def test_changes_of_other_namespaces_pass_by() -> None:
    world = _world(_config(PROD))
    world.take(_namespace("c", env="prod"), _service("c"))
    assert world.services == {"a", "c", ROOT}
