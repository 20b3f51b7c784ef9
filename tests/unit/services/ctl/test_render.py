from collections.abc import Mapping
from typing import Any

import pytest

from libs.proxy.errors import NodeError
from services.ctl.render import KINDS, UnknownProxyError, render

POD = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, annotations: {inject.istio.io/templates: %s}}
spec: {serviceAccountName: client, containers: [{name: app}]}
status:
  phase: Running
  podIPs: [{ip: 10.244.0.9}]
  conditions: [{type: Ready, status: "True"}]
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
"""
MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "trustDomain: td.example\\noutboundTrafficPolicy: {mode: REGISTRY_ONLY}"}
"""
DEFAULTS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "defaultConfig: {proxyHeaders: {server: {value: mesh}}}"}
"""
BROKEN = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken, namespace: shop}
spec: {hosts: [web], htttp: []}
"""
FILES = {"pod.yaml": POD % "sidecar", "web.yaml": SERVICE}


def shown(files: Mapping[str, str], **metadata: object) -> dict[str, Any]:
    return render(files, "client.shop", metadata)


def names(found: dict[str, Any], kind: str) -> list[str]:
    return [one.get("name") or one["cluster_name"] for one in found[kind]]


def test_everything_that_a_proxy_gets_is_shown_as_envoy_shows_it() -> None:
    found = shown(FILES)
    assert set(found) == {*KINDS, "bootstrap", "sources", "problems"}
    assert {"clusters", "listeners", "routes", "endpoints", "extensions"} == set(KINDS)
    assert "outbound|80||web.shop.svc.cluster.local" in names(found, "clusters")
    assert "virtualOutbound" in names(found, "listeners")
    assert names(found, "routes") == ["80"]
    manager = found["listeners"][0]["filter_chains"][0]["filters"][-1]["typed_config"]
    assert manager["@type"].endswith("HttpConnectionManager")
    assert found["sources"]["80"] == ["Service/shop/web"]
    assert found["problems"] == []


def test_settings_of_the_proxy_are_those_that_an_injected_agent_would_have() -> None:
    def server(*more: str, **metadata: object) -> str:
        inject = "sidecar, proxy.istio.io/config: 'proxyHeaders: {server: {value: pod}}'"
        pod = POD % (inject if "annotated" in more else "sidecar")
        files = {**FILES, "pod.yaml": pod, "mesh.yaml": DEFAULTS}
        found = shown(files, **metadata)
        inbound = next(one for one in found["listeners"] if one["name"] == "virtualInbound")
        configs = (it["typed_config"] for it in _filters(inbound))
        return str(next(it["server_name"] for it in configs if "server_name" in it))

    assert server() == "mesh"
    assert server("annotated") == "pod"
    assert server(PROXY_CONFIG={"proxyHeaders": {"server": {"value": "said"}}}) == "said"


def _filters(listener: dict[str, Any]) -> list[dict[str, Any]]:
    return [it for chain in listener["filter_chains"] for it in chain["filters"]]


def test_a_gateway_is_a_router() -> None:
    found = shown({**FILES, "pod.yaml": POD % "gateway"})
    assert found["listeners"] == []
    assert "PassthroughCluster" not in names(found, "clusters")


def test_the_meshs_own_settings_are_read() -> None:
    found = shown({**FILES, "mesh.yaml": MESH})
    assert found["routes"][0]["virtual_hosts"][-1]["name"] == "block_all"


def test_a_bad_document_is_a_problem_and_the_rest_is_rendered() -> None:
    found = shown({**FILES, "bad.yaml": BROKEN, "worse.yaml": "{ not yaml"})
    assert names(found, "routes") == ["80"]
    problem = next(one for one in found["problems"] if one["file"] == "bad.yaml")
    assert (problem["ref"], problem["path"]) == ("VirtualService/shop/broken", "spec.htttp")
    assert problem["line"] == 5
    assert any(one["file"] == "worse.yaml" for one in found["problems"])


def test_an_unknown_proxy_is_named() -> None:
    with pytest.raises(UnknownProxyError, match="'nobody' in namespace 'shop'"):
        render(FILES, "nobody.shop")


def test_what_a_node_would_say_can_be_said() -> None:
    found = shown(FILES, INTERCEPTION_MODE="NONE", SEINE_OUTBOUND_ADDRESS="127.0.0.7")
    assert names(found, "listeners") == ["127.0.0.7_80"]
    with pytest.raises(NodeError):
        shown(FILES, INTERCEPTION_MODE="MAGIC")


def test_rendering_twice_gives_the_same() -> None:
    assert shown(FILES) == shown(dict(reversed(FILES.items())))
