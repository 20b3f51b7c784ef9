"""What a revision's MeshConfig and a shared one come to."""

import pytest

from libs.api import mesh_config, mesh_layers
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import MeshConfig
from libs.api.mesh_layers import Layers
from libs.api.resource import Metadata

ROOT = "istio-system"


def _map(text: str, name: str = "istio") -> ConfigMap:
    return ConfigMap(Metadata(name, ROOT), {"mesh": text})


def _read(own: str, shared: str) -> MeshConfig:
    together = mesh_layers.layered(_map(own), _map(shared, "shared"))
    found, problems = mesh_config.read(together)
    assert problems == []
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("revision", "name"), [("default", "istio"), ("", "istio"), ("1-30", "istio-1-30")]
)
def test_each_revision_has_its_own(revision: str, name: str) -> None:
    assert mesh_layers.config_map_name(revision) == name


def test_the_own_one_wins_field_by_field() -> None:
    found = _read("accessLogFile: /dev/stdout", "accessLogFile: /x\ntrust_domain: a.example")
    assert (found.access_log_file, found.trust_domain) == ("/dev/stdout", "a.example")


def test_spellings_are_the_same_field() -> None:
    assert _read("trustDomain: b.example", "trust_domain: a.example").trust_domain == "b.example"


def test_nothing_takes_nothing_back() -> None:
    assert _read("trustDomain: null", "trustDomain: a.example").trust_domain == "a.example"
    assert _read("", "trustDomain: a.example").trust_domain == "a.example"


def test_defaults_of_proxies_are_merged_and_their_metadata_too() -> None:
    found = _read(
        "defaultConfig: {concurrency: 2, proxyMetadata: {A: own}}",
        "defaultConfig: {drainDuration: 9s, concurrency: 1, proxyMetadata: {A: shared, B: shared}}",
    ).default_config
    assert found is not None
    assert (found.concurrency, found.drain_duration) == (2, 9000)
    assert found.proxy_metadata == {"A": "own", "B": "shared"}


def test_providers_are_merged_by_name_and_aliases_add_up() -> None:
    found = _read(
        "extensionProviders: [{name: a, prometheus: {}}]\ntrustDomainAliases: [x.example]",
        "extensionProviders: [{name: a, zipkin: {service: z.ns.svc, port: 1}}, "
        "{name: b, prometheus: {}}]\ntrustDomainAliases: [w.example]",
    )
    providers = found.extension_providers or ()
    assert [(it.name, it.prometheus is not None) for it in providers] == [("a", True), ("b", True)]
    assert found.trust_domain_aliases == ("w.example", "x.example")


@pytest.mark.parametrize("odd", ["😀", "a\u2028b", "a\x85b", 'q"\\'])
def test_any_text_survives(odd: str) -> None:
    quoted = odd.replace("\\", "\\\\").replace('"', '\\"').replace("\u2028", "\\u2028")
    quoted = quoted.replace("\x85", "\\x85")
    assert _read("", f'accessLogFormat: "{quoted}"').access_log_format == odd


def test_either_may_be_missing() -> None:
    own, shared = _map("trustDomain: a.example"), _map("trustDomain: b.example", "shared")
    assert Layers().together(ROOT, "istio") is None
    assert Layers(own).together(ROOT, "istio") is own
    alone = Layers(None, shared).together(ROOT, "istio-canary")
    assert alone is not None
    assert (alone.metadata.name, alone.metadata.namespace) == ("istio-canary", ROOT)
    found, _ = mesh_config.read(alone)
    assert found is not None
    assert found.trust_domain == "b.example"
