"""Pages of the mesh: Istio's shapes, by namespace if need be, and never without bounds."""

import json
from typing import Any

import pytest

from libs.model.endpoint import Health
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.networks import NetworkGateway, Networks
from libs.model.security import Action
from services.config_push import mesh_pages
from tests.support.mesh import (
    access_policy,
    endpoints,
    fqdn,
    host_policy,
    mesh,
    port,
    routing,
    service,
    telemetry_policy,
    workload,
)

WEB = service("web", port(80))
TILL = service("till", port(9000), namespace="bank")
POD = workload("web-1")
EAST = Networks(
    ref=Ref("ConfigMap/istio-system/istio"),
    gateways=(NetworkGateway(network="east", address="10.9.9.9", port=15443),),
)
FULL = mesh(
    WEB,
    TILL,
    POD,
    EAST,
    endpoints(WEB, "10.0.0.1", workload=POD.key, health=Health.UNHEALTHY),
    endpoints(TILL, "10.0.1.1"),
    routing("web", "web"),
    host_policy("till", "till", "bank"),
    access_policy("nobody", action=Action.DENY),
    telemetry_policy("quiet", "bank"),
)


def page(name: str, shown: Mesh = FULL, namespace: str = "") -> Any:  # noqa: ANN401  # JSON
    return json.loads(mesh_pages.render(name, shown, namespace))


def test_registryz_has_services() -> None:
    hosts = {one["hostname"]: one["Attributes"]["Namespace"] for one in page("registryz")}
    assert hosts == {fqdn("web"): "shop", fqdn("till", "bank"): "bank"}
    (web,) = page("registryz", namespace="shop")
    assert web["ports"] == [{"name": "http-80", "port": 80, "protocol": "HTTP"}]


def test_endpoints_stand_by_host_namespace_and_cluster() -> None:
    (one,) = page("endpointShardz")[fqdn("web")]["shop"]["Shards"]["Kubernetes/Kubernetes"]
    assert (one["Addresses"], one["EndpointPort"], one["HealthStatus"]) == (["10.0.0.1"], 80, 2)
    assert page("endpointShardz", namespace="bank").keys() == {fqdn("till", "bank")}


def test_configz_has_resources_as_kubernetes_names_them() -> None:
    found = {(it["kind"], it["apiVersion"], it["metadata"]["name"]) for it in page("configz")}
    assert ("VirtualService", "networking.istio.io/v1", "web") in found
    assert ("AuthorizationPolicy", "security.istio.io/v1", "nobody") in found
    (only,) = [it for it in page("configz", namespace="bank") if it["kind"] == "DestinationRule"]
    assert only["spec"]["host"]


def test_resourcesz_has_the_kinds_that_are_read() -> None:
    kind = {"group": "networking.istio.io", "version": "v1", "kind": "VirtualService"}
    assert kind in page("resourcesz")


def test_policies_stand_by_namespace() -> None:
    access = page("authorizationz")["authorization_policies"]
    assert access["root_namespace"] == "istio-system"
    assert access["namespace_to_policies"]["shop"][0]["spec"]["action"] == "DENY"
    assert page("pushcontext")["AuthorizationPolicies"]["authorization_policies"] == access
    told = page("telemetryz")["telemetries"]["namespace_to_telemetries"]
    assert [one["name"] for one in told["bank"]] == ["quiet"]


def test_networks_clusters_and_the_mesh_itself() -> None:
    gateway = {"Network": "east", "Cluster": "Kubernetes", "Addr": "10.9.9.9", "Port": 15443}
    assert page("networkz") == [gateway]
    assert page("clusterz") == [{"id": "Kubernetes", "secretName": "", "syncStatus": "synced"}]
    assert page("mesh")["outboundTrafficPolicy"] == {"mode": "ALLOW_ANY"}
    assert page("mesh")["connectTimeout"] == "10s"


def test_instances_are_the_services_that_a_proxys_workload_stands_for() -> None:
    found = json.loads(mesh_pages.instances(FULL, {"sidecar~web-1": POD.key, "idle": "nowhere"}))
    (target,) = found["sidecar~web-1"]
    assert (target["Service"], target["Port"]["targetPort"]) == (fqdn("web"), 80)
    assert found["idle"] == []


def test_a_page_that_would_be_too_large_is_asked_for_by_namespace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mesh_pages, "MAX_ROWS", 1)
    for name in ("registryz", "endpointShardz", "configz"):
        with pytest.raises(mesh_pages.TooManyRowsError, match="namespace"):
            page(name)
    assert len(page("registryz", namespace="bank")) == 1
