"""The ConfigMaps with the mesh's settings, as they come and go."""

from collections.abc import Sequence

import msgspec

from libs.api import mesh_config
from libs.api.kubernetes import ConfigMap
from libs.api.registry import CORE, KINDS
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.model.ids import Ref
from libs.translate.apply import Event, Remove, Upsert
from services.discovery.mesh_maps import MeshMaps
from services.discovery.objects import Objects

ROOT = "istio-system"
OWN, SHARED = "istio-canary", "shared"
(KIND,) = [it for it in KINDS if it.struct is ConfigMap and it.group == CORE]


class World:
    """MeshMaps behind Objects; keeps the last event and the problems of each ConfigMap."""

    def __init__(self, *, shared: str = SHARED) -> None:
        self._maps, self._objects = MeshMaps(ROOT, OWN, shared), Objects()
        self.events: list[Event] = []
        self.problems: dict[Ref, list[str]] = {}

    def say(self, name: str, text: str | None) -> None:
        raw = {"metadata": {"name": name, "namespace": ROOT}, "data": {"mesh": text}}
        encoded = None if text is None else msgspec.Raw(msgspec.json.encode(raw))
        for found in self._objects.read(KIND, [Change(Name(ROOT, name), encoded)], 1.0):
            for laid in self._maps.lay(found):
                self.problems[laid.ref] = [it.path for it in laid.problems]
                self.events += [laid.event] if laid.event else []

    @property
    def trust_domain(self) -> str | None:
        last = self.events[-1]
        assert last.ref == f"ConfigMap/{ROOT}/{OWN}"
        if isinstance(last, Remove):
            return None
        assert isinstance(last, Upsert)
        assert isinstance(last.resource, ConfigMap)
        found, _ = mesh_config.read(last.resource)
        assert found is not None
        return found.trust_domain


def _names(maps: MeshMaps) -> Sequence[tuple[str, str]]:
    return [(it.name, it.field_selector) for it in maps.collections(KIND)]


def test_only_what_is_named_is_followed() -> None:
    assert _names(MeshMaps(ROOT)) == [("configmaps", "metadata.name=istio")]
    assert _names(MeshMaps(ROOT, OWN, SHARED)) == [
        ("configmaps", "metadata.name=istio-canary"),
        ("configmaps/shared", "metadata.name=shared"),
    ]


def test_the_own_one_lies_above_the_shared_one_in_whatever_order_they_come() -> None:
    for order in ((OWN, SHARED), (SHARED, OWN)):
        world = World()
        for name in order:
            world.say(name, f"trustDomain: {name}.example")
        assert world.trust_domain == f"{OWN}.example"
        world.say(OWN, None)
        assert world.trust_domain == f"{SHARED}.example"
        world.say(SHARED, None)
        assert world.trust_domain is None


def test_a_bad_one_leaves_what_it_said_and_its_problems_are_its_own() -> None:
    world = World()
    world.say(SHARED, "trustDomain: good.example")
    world.say(SHARED, "trustDomain: '-'")
    assert world.problems[Ref(f"ConfigMap/{ROOT}/{SHARED}")] == ["data.mesh.trustDomain"]
    assert world.problems[Ref(f"ConfigMap/{ROOT}/{OWN}")] == []
    world.say(OWN, "connectTimeout: 0s")
    assert world.problems[Ref(f"ConfigMap/{ROOT}/{OWN}")] == ["data.mesh.connectTimeout"]
    assert world.trust_domain == "good.example"
    world.say(OWN, "connectTimeout: 1s")
    assert world.problems[Ref(f"ConfigMap/{ROOT}/{OWN}")] == []
    assert world.trust_domain == "good.example"
    world.say(SHARED, "{}")
    assert world.problems[Ref(f"ConfigMap/{ROOT}/{SHARED}")] == []
    assert not world.trust_domain
