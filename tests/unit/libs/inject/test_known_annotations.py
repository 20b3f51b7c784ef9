"""Every annotation that Istio documents changes something here, or it is said that it does not."""

from typing import Any

import pytest
import yaml

from libs.api.problem import Severity
from libs.api.report import Report
from libs.api.validate.annotations import REFERENCED
from libs.inject import annotations
from libs.inject.analysis.known_annotations import KNOWN, Stage
from libs.inject.without_effect import WHY
from libs.model.ids import Ref
from libs.model.settings import MeshSettings
from libs.translate.apply import Upsert, apply, initial
from tests.support.patches import decoded
from tests.support.pods import Pod, pod, result

PROBED = {"name": "app", "image": "web:1", "readinessProbe": {"httpGet": {"port": 8080}}}
SAMPLES = {
    "sidecar.istio.io/proxyImage": "registry.example/other:1",
    "sidecar.istio.io/proxyImageType": "debug",
    "sidecar.istio.io/proxyCPU": "17m",
    "sidecar.istio.io/proxyCPULimit": "3",
    "sidecar.istio.io/proxyMemory": "77Mi",
    "sidecar.istio.io/proxyMemoryLimit": "999Mi",
    "sidecar.istio.io/interceptionMode": "TPROXY",
    "sidecar.istio.io/logLevel": "trace",
    "sidecar.istio.io/componentLogLevel": "http:trace",
    "sidecar.istio.io/agentLogLevel": "default:debug",
    "sidecar.istio.io/bootstrapOverride": "mine",
    "sidecar.istio.io/userVolume": '{"a": {"emptyDir": {}}}',
    "sidecar.istio.io/userVolumeMount": '{"a": {"mountPath": "/a"}}',
    "sidecar.istio.io/rewriteAppHTTPProbers": "false",
    "sidecar.istio.io/nativeSidecar": "false",
    "sidecar.istio.io/capNetBindService": "true",
    "sidecar.istio.io/discoveryAddress": "elsewhere:15012",
    "sidecar.istio.io/statsCompression": "false",
    "sidecar.istio.io/statsInclusionPrefixes": "cluster",
    "sidecar.istio.io/statsInclusionSuffixes": "rq_total",
    "sidecar.istio.io/statsInclusionRegexps": "x.*",
    "sidecar.istio.io/extraStatTags": "a",
    "status.sidecar.istio.io/port": "15777",
    "readiness.status.sidecar.istio.io/initialDelaySeconds": "7",
    "readiness.status.sidecar.istio.io/periodSeconds": "7",
    "readiness.status.sidecar.istio.io/failureThreshold": "7",
    "traffic.sidecar.istio.io/includeOutboundIPRanges": "10.0.0.0/8",
    "traffic.sidecar.istio.io/excludeOutboundIPRanges": "10.0.0.0/8",
    "traffic.sidecar.istio.io/includeInboundPorts": "80",
    "traffic.sidecar.istio.io/excludeInboundPorts": "80",
    "traffic.sidecar.istio.io/includeOutboundPorts": "80",
    "traffic.sidecar.istio.io/excludeOutboundPorts": "80",
    "traffic.sidecar.istio.io/excludeInterfaces": "eth9",
    "traffic.sidecar.istio.io/kubevirtInterfaces": "net1",
    "istio.io/reroute-virtual-interfaces": "net1",
    "inject.istio.io/templates": "gateway",
    "prometheus.istio.io/merge-metrics": "false",
    "proxy.istio.io/config": "concurrency: 3",
}
DECIDES = "sidecar.istio.io/inject"
"""Who has one gets no further: see test_decide."""
WRITTEN = {name for name, known in KNOWN.items() if known.stage is Stage.WRITTEN}


def of_kind(kind: str) -> list[str]:
    return sorted(name for name, it in KNOWN.items() if kind in it.kinds and name not in WRITTEN)


def spec(said: dict[str, str]) -> Pod:
    """Return what a pod is after injection, but for its metadata."""
    found: Pod = result(pod(PROBED, annotations={"prometheus.io/scrape": "true", **said}))["spec"]
    return found


@pytest.mark.parametrize("name", [name for name in of_kind("Pod") if name != DECIDES])
def test_of_a_pod(name: str) -> None:
    idle = WHY["Pod"].get(name)
    report = Report(Ref(""))
    annotations.read({name: SAMPLES.get(name, "1")}, report)
    said = [(it.severity, it.text) for it in report.problems]
    if idle is not None:
        assert said == [(Severity.WARNING, idle)]
        assert spec({name: "1"}) == spec({})
    else:
        assert said == []
        assert spec({name: SAMPLES[name]}) != spec({})


ENTRY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
spec: {hosts: [a.example.com], ports: [{number: 80, name: http}], resolution: DNS}
"""
INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
spec:
  rules:
    - host: a.example.com
      http:
        paths: [{path: /, pathType: Prefix, backend: {service: {name: a, port: {number: 80}}}}]
"""
RESOURCES = {
    "Service": (
        "apiVersion: v1\nkind: Service\nspec: {clusterIP: 10.0.0.1, ports: [{port: 80}]}",
        {
            "networking.istio.io/exportTo": "~",
            "networking.istio.io/traffic-distribution": "PreferClose",
            "alpha.istio.io/kubernetes-serviceaccounts": "bob",
            "alpha.istio.io/canonical-serviceaccounts": "bob@example.com",
        },
    ),
    "ServiceEntry": (ENTRY, {"networking.istio.io/traffic-distribution": "PreferClose"}),
    "AuthorizationPolicy": (
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nspec: {rules: [{}]}",
        {"istio.io/dry-run": "true"},
    ),
    "Ingress": (INGRESS, {"kubernetes.io/ingress.class": "istio"}),
    "Namespace": ("apiVersion: v1\nkind: Namespace", {}),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in RESOURCES for name in of_kind(kind)]
)
def test_of_other_kinds(kind: str, name: str) -> None:
    text, samples = RESOURCES[kind]
    if name in WHY.get(kind, {}):
        assert _rows(text, {name: "1"}) == _rows(text, {})
        assert name not in samples
    else:
        assert _rows(text, {name: samples[name]}) != _rows(text, {})


def _rows(text: str, said: dict[str, str]) -> list[Any]:
    document = yaml.safe_load(text)
    document["metadata"] = {"name": "a", "namespace": "shop", "annotations": said}
    if document["kind"] == "Namespace":
        del document["metadata"]["namespace"]
    mesh = apply(initial(MeshSettings()), [Upsert(decoded(document))]).state.mesh
    return [sorted(rows.items()) for _, rows in sorted(mesh.tables.items())]


def test_nothing_is_left_out() -> None:
    """Gateways of the Gateway API are not followed at all, which is said of each of them."""
    judged = {"Pod", *RESOURCES, "EnvoyFilter"}
    left = {
        name
        for name, known in KNOWN.items()
        if name not in WRITTEN and not known.kinds & judged and known.kinds != {"*"}
    }
    assert left == {
        "gateway.istio.io/service-account",
        "gateway.istio.io/name-override",
        "networking.istio.io/service-type",
        "ambient.istio.io/waypoint-inbound-binding",
    }
    assert of_kind("EnvoyFilter") == [REFERENCED]
    assert all(set(why) <= set(of_kind(kind)) for kind, why in WHY.items())
