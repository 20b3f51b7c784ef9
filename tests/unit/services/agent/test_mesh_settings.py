"""What the mesh's `defaultConfig` says reaches a pod: what is injected, or what its agent reads."""

import json
from typing import Any

import pytest
import yaml

from libs.api import mesh_config
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import MeshConfig
from libs.api.resource import Metadata
from services.agent.proxy_config import parse
from tests.support.pods import pod, proxy, result, variables

SCRAPED = {"prometheus.io/scrape": "true", "prometheus.io/port": "9100"}


def _mesh(text: str) -> MeshConfig:
    resource = ConfigMap(Metadata("istio", "istio-system"), {"mesh": text})
    config, _ = mesh_config.read(resource)
    assert config is not None
    return config


def _injected(text: str) -> tuple[dict[str, Any], object]:
    """The injected pod without PROXY_CONFIG, and what the agent reads there."""
    made = result(pod(annotations=SCRAPED), native=False, mesh=_mesh(text))
    container = proxy(made)
    read = parse(variables(container)["PROXY_CONFIG"])
    container["env"] = [one for one in container["env"] if one["name"] != "PROXY_CONFIG"]
    return json.loads(json.dumps(made)), read


# proves: MeshConfig defaultConfig.configPath, defaultConfig.serviceCluster
# proves: MeshConfig defaultConfig.drainDuration, defaultConfig.discoveryAddress
# proves: MeshConfig defaultConfig.proxyAdminPort, defaultConfig.concurrency
# proves: MeshConfig defaultConfig.statusPort, defaultConfig.terminationDrainDuration
# proves: MeshConfig defaultConfig.meshId, defaultConfig.proxyStatsMatcher.inclusionPrefixes
# proves: MeshConfig defaultConfig.proxyStatsMatcher.inclusionSuffixes
# proves: MeshConfig defaultConfig.proxyStatsMatcher.inclusionRegexps
# proves: MeshConfig defaultConfig.interceptionMode, defaultConfig.proxyMetadata
# proves: MeshConfig defaultConfig.holdApplicationUntilProxyStarts
# proves: MeshConfig defaultConfig.image.imageType, enablePrometheusMerge
@pytest.mark.parametrize(
    "field",
    [
        {"configPath": "./elsewhere"},
        {"serviceCluster": "web.shop"},
        {"drainDuration": "7s"},
        {"discoveryAddress": "elsewhere:15012"},
        {"proxyAdminPort": 15999},
        {"concurrency": 3},
        {"statusPort": 15998},
        {"terminationDrainDuration": "9s"},
        {"meshId": "north"},
        {"proxyStatsMatcher": {"inclusionPrefixes": ["a"]}},
        {"proxyStatsMatcher": {"inclusionSuffixes": ["a"]}},
        {"proxyStatsMatcher": {"inclusionRegexps": ["a.*"]}},
        {"interceptionMode": "TPROXY"},
        {"proxyMetadata": {"A": "b"}},
        {"holdApplicationUntilProxyStarts": True},
        {"image": {"imageType": "debug"}},
    ],
    ids=lambda field: next(iter(field)),
)
def test_each_field_changes_what_is_injected_or_what_the_agent_does(field: dict[str, Any]) -> None:
    with_it = _injected(yaml.safe_dump({"defaultConfig": field}))
    assert with_it != _injected("")


def test_a_field_that_nobody_reads_changes_neither() -> None:
    assert _injected("defaultConfig: {binaryPath: /envoy}") == _injected("")


def test_metrics_are_merged_unless_the_mesh_says_no() -> None:
    assert _injected("enablePrometheusMerge: false") != _injected("")
