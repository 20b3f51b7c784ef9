"""What analysis notices about pods and who injects them, each with what it must not notice."""

import json

import pytest

from libs.api import codes, documents
from libs.inject import analysis
from libs.inject.analysis.subject import of_document, of_resource
from libs.inject.webhooks import Target, configuration
from tests.support.resources import resources

NAMESPACE = """
apiVersion: v1
kind: Namespace
metadata: {name: %s, labels: {%s}}
---
"""
SHOP = NAMESPACE % ("shop", "istio-injection: enabled")
POD = """
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop, labels: {%s}, annotations: {%s}}
spec: {%s}
status: {podIP: 10.1.0.1}
---
"""
APP = "containers: [{name: app, image: app}]"
PROXIED = "containers: [{name: app}, {name: istio-proxy, image: %s}]"
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: shop, annotations: {%s}}
spec: {template: {metadata: {labels: {%s}, annotations: {%s}}, spec: {%s}}}
---
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: %s, namespace: istio-system, annotations: {%s}}
spec: {ports: [{name: https, port: %d}]}
---
"""
INJECTOR = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio-sidecar-injector%s, namespace: istio-system}
data: {values: '{"global": {"hub": "hub.example", "tag": "2", "proxy": {"image": "proxyv2"}}}'}
---
"""
AS_1337 = "securityContext: {runAsUser: 1337}"
REFUSED = "sidecar.istio.io/inject: 'false'"
STATUS = "sidecar.istio.io/status: '{}'"
AUTO = "containers: [{name: istio-proxy, image: auto}]"
GATEWAY = "sidecar.istio.io/inject: 'true'"
LEVEL = "sidecar.istio.io/logLevel: %s"
CONFIG = "proxy.istio.io/config: 'concurrency: 1'"

DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: %s
  annotations: {gateway.networking.k8s.io/bundle-version: %s}
---
"""
NETWORKS = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  meshNetworks: |
    networks: {west: {endpoints: [{fromCidr: 10.0.0.0/8}, {fromRegistry: %s}], gateways: []}}
---
"""
REMOTE = """
apiVersion: v1
kind: Secret
metadata: {name: %s, namespace: istio-system, labels: {istio/multiCluster: "%s"}}
stringData: {west-1: kubeconfig}
---
"""
TOLD = """
apiVersion: %s
kind: %s
metadata: {name: a, namespace: shop}
status: {%s}
---
"""
ISTIO, GATEWAY_API = "networking.istio.io/v1", "gateway.networking.k8s.io/v1"
REFUSED_STATUS = "conditions: [{type: Accepted, status: 'False', reason: R, message: m}]"

Row = tuple[str, str, str]


def webhooks(target: Target | None = None, **client: str) -> str:
    """Return an injector's configuration as a document; `client` stands for each clientConfig."""
    found = configuration(target or Target())
    for one in found["webhooks"]:
        one["clientConfig"] = client or one["clientConfig"]
    return json.dumps(found) + "\n---\n"


def found(text: str) -> list[Row]:
    raws = [it.raw for it in documents.read(text, "a.yaml") if it.raw is not None]
    subjects = [it for it in map(of_document, raws) if it is not None]
    return [(codes.of(it), it.ref, it.path) for it in analysis.findings(subjects)]


def running(text: str) -> list[Row]:
    return [
        (codes.of(it), it.ref, it.path)
        for it in analysis.findings(map(of_resource, resources(text)))
    ]


def annotated(name: str) -> str:
    return f"metadata.annotations[{name}]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (NAMESPACE % ("shop", ""), ("IST0102", "Namespace//shop", "metadata.labels")),
        (
            NAMESPACE % ("shop", "") + webhooks(Target(namespaces_by_default=True)),
            ("IST0148", "Namespace//shop", "metadata.labels"),
        ),
        (
            NAMESPACE % ("shop", "istio-injection: enabled, istio.io/rev: canary"),
            ("IST0123", "Namespace//shop", "metadata.labels"),
        ),
        (SHOP + POD % ("", "", APP), ("IST0103", "Pod/shop/a", "spec")),
        (
            SHOP + DEPLOYMENT % (LEVEL % "debug", "", "", APP),
            ("IST0107", "Deployment/shop/d", annotated("sidecar.istio.io/logLevel")),
        ),
        (
            POD % ("", "networking.istio.io/exportTo: '*'", APP),
            ("IST0107", "Pod/shop/a", annotated("networking.istio.io/exportTo")),
        ),
        (
            POD % ("", "sidecar.istio.io/loglevel: debug", APP),
            ("IST0108", "Pod/shop/a", annotated("sidecar.istio.io/loglevel")),
        ),
        (
            SERVICE % ("web", "networking.istio.io/exportTo: '*'", 443),
            ("IST0136", "Service/istio-system/web", annotated("networking.istio.io/exportTo")),
        ),
        (
            DEPLOYMENT % ("", "", "sidecar.istio.io/inject: 'false'", APP),
            (
                "IST0135",
                "Deployment/shop/d",
                f"spec.template.{annotated('sidecar.istio.io/inject')}",
            ),
        ),
        (
            DEPLOYMENT % ("", "", "proxy.istio.io/config: 'concurrency: many'", APP),
            (
                "IST0125",
                "Deployment/shop/d",
                f"spec.template.{annotated('proxy.istio.io/config')}.concurrency",
            ),
        ),
        (
            DEPLOYMENT % ("", "", "", f"{AS_1337}, {APP}"),
            ("IST0144", "Deployment/shop/d", "spec.template.spec.securityContext.runAsUser"),
        ),
        (
            POD % ("", STATUS, f"containers: [{{name: app, {AS_1337}}}]"),
            ("IST0144", "Pod/shop/a", "spec.containers[0].securityContext.runAsUser"),
        ),
        (
            SHOP + INJECTOR % "" + POD % ("", "", PROXIED % "'hub.example/proxyv2:1'"),
            ("IST0158", "Namespace//shop", "metadata.name"),
        ),
        (POD % ("", "", AUTO), ("IST0147", "Pod/shop/a", "spec.containers[0].image")),
        (
            NAMESPACE % ("shop", "istio-injection: disabled") + DEPLOYMENT % ("", "", "", AUTO),
            ("IST0146", "Deployment/shop/d", "spec.template.spec.containers[0].image"),
        ),
        (
            DEPLOYMENT % ("", REFUSED, "", AUTO),
            ("IST0146", "Deployment/shop/d", "spec.template.spec.containers[0].image"),
        ),
    ],
)
def test_what_is_noticed(text: str, expected: Row) -> None:
    assert found(text) == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            NETWORKS % "west-1",
            (
                "IST0126",
                "ConfigMap/istio-system/istio",
                "data.meshNetworks.networks.west.endpoints[1].fromRegistry",
            ),
        ),
        (
            TOLD % (ISTIO, "VirtualService", REFUSED_STATUS),
            ("IST0171", "VirtualService/shop/a", "status.conditions[0]"),
        ),
        (
            TOLD % (GATEWAY_API, "HTTPRoute", f"parents: [{{}}, {{{REFUSED_STATUS}}}]"),
            ("IST0171", "HTTPRoute/shop/a", "status.parents[1].conditions[0]"),
        ),
        (
            TOLD % ("v1", "Service", REFUSED_STATUS),
            ("IST0171", "Service/shop/a", "status.conditions[0]"),
        ),
    ],
)
def test_what_is_noticed_of_clusters_and_statuses(text: str, expected: Row) -> None:
    assert found(text) == [expected]


def test_an_annotation_that_changes_nothing_is_noticed() -> None:
    name = "traffic.istio.io/nodeSelector"
    text = SERVICE % ("web", f"{name}: '{{}}'", 443)
    assert found(text) == [("", "Service/istio-system/web", annotated(name))]


def test_a_secret_that_is_no_remote_cluster_s_names_none() -> None:
    assert found(NETWORKS % "west-1" + REMOTE % ("west", "false")) != []
    elsewhere = (REMOTE % ("west", "true")).replace("istio-system", "shop")
    assert found(NETWORKS % "west-1" + elsewhere) != []


def test_definitions_of_the_gateway_api_have_no_effect_and_may_be_too_old() -> None:
    routes, udp = "grpcroutes.gateway.networking.k8s.io", "udproutes.gateway.networking.k8s.io"
    new, old = DEFINITION % (routes, "v1.1.0"), DEFINITION % (routes, "v1.0.9")
    bundle = annotated("gateway.networking.k8s.io/bundle-version")
    place = f"CustomResourceDefinition//{routes}"
    unfollowed = ("", place, "metadata.name")
    assert found(new) == [unfollowed]
    assert found(old) == [("IST0176", place, bundle), unfollowed]
    assert found(DEFINITION % (udp, "v0.1.0") + new) == [unfollowed]
    assert found(DEFINITION % (routes, "main")) == [unfollowed]
    assert found(DEFINITION % ("grpcroutes.example.com", "v0.1.0")) == []
    assert found(DEFINITION % ("gateways.networking.istio.io", "v0.1.0")) == []


def test_a_value_that_cannot_be_is_invalid_wherever_a_pod_is_made() -> None:
    for text, place in (
        (POD % ("", LEVEL % "loud", APP), ""),
        (DEPLOYMENT % ("", "", LEVEL % "loud", APP), "spec.template."),
    ):
        rows = {(code, path) for code, _, path in found(text)}
        assert ("IST0125", place + annotated("sidecar.istio.io/logLevel")) in rows


def test_webhooks_that_lead_nowhere() -> None:
    other = SERVICE % ("other", "", 443)
    assert {it[0] for it in found(webhooks() + other)} == {"IST0139"}
    assert {it[2] for it in found(webhooks() + SERVICE % ("istiod", "", 80))} == {
        f"webhooks[{index}].clientConfig.service.port" for index in range(5)
    }
    assert {it[0] for it in found(webhooks(url="injector.example"))} == {"IST0163"}
    assert {it[0] for it in found(webhooks(url="https://10.0.0.1/inject"))} == {"IST0164"}


def test_two_injectors_of_one_revision() -> None:
    twin = webhooks().replace('"name": "istio-sidecar-injector"', '"name": "twin"')
    assert found(webhooks() + twin) == [
        ("IST0139", "MutatingWebhookConfiguration//twin", "webhooks")
    ]


@pytest.mark.parametrize(
    "text",
    [
        SHOP,
        NAMESPACE % ("shop", "istio-injection: disabled"),
        NAMESPACE % ("shop", "istio.io/rev: canary"),
        NAMESPACE % ("shop", "istio.io/dataplane-mode: ambient"),
        NAMESPACE % ("kube-system", ""),
        NAMESPACE % ("istio-system", ""),
        SHOP + POD % ("", STATUS, APP),
        SHOP + POD % ("", "", PROXIED % "proxy"),
        SHOP + POD % ("security.istio.io/tlsMode: istio", "", APP),
        SHOP + POD % (REFUSED, "", APP),
        SHOP + POD % ("", "", f"hostNetwork: true, {APP}"),
        SHOP + (POD % ("", "", APP)).replace("status: {podIP: 10.1.0.1}", ""),  # not made yet
        POD % ("", "", APP),  # its namespace is not known
        POD % ("", "example.com/istio.io: a", APP),
        POD % ("", CONFIG, APP),
        POD % ("sidecar.istio.io/inject: 'false'", "sidecar.istio.io/inject: 'false'", APP),
        DEPLOYMENT % ("galley.istio.io/analyze-suppress: '*'", "", "", APP),
        SERVICE % ("web", "galley.istio.io/analyze-suppress: '*'", 443),
        DEPLOYMENT % ("", "", "", f"{AS_1337}, containers: [{{name: istio-proxy}}]"),
        DEPLOYMENT % ("", REFUSED, "", f"{AS_1337}, {APP}"),
        DEPLOYMENT
        % (
            "",
            "",
            "",
            f"{AS_1337}, containers: [{{name: app, securityContext: {{runAsUser: 1}}}}]",
        ),
        SHOP + INJECTOR % "" + POD % ("", "", PROXIED % "'hub.example/proxyv2:2'"),
        SHOP + INJECTOR % "" + POD % ("", "", PROXIED % "'hub.example/proxyv2:2-debug'"),
        SHOP + INJECTOR % "-canary" + POD % ("", "", PROXIED % "'hub.example/proxyv2:1'"),
        SHOP + DEPLOYMENT % ("", "", "", AUTO),
        DEPLOYMENT % ("", GATEWAY, "", AUTO),
        webhooks(),  # of its namespace, nothing is known
        webhooks() + SERVICE % ("istiod", "", 443),
        webhooks() + webhooks(Target(revision="canary")),
        webhooks(url="https://injector.example/inject"),
        NETWORKS % "Kubernetes",
        NETWORKS % "west-1" + REMOTE % ("west", "true"),
        NETWORKS % "[]",
        (NETWORKS % "west-1").replace("istio-system", "shop"),  # nobody reads it there
        TOLD % (ISTIO, "VirtualService", REFUSED_STATUS.replace("False", "True")),
        TOLD % (ISTIO, "VirtualService", REFUSED_STATUS.replace("False", "Unknown")),
        TOLD % (GATEWAY_API, "Gateway", REFUSED_STATUS.replace("Accepted", "Conflicted")),
        TOLD % ("example.com/v1", "Thing", REFUSED_STATUS),
        TOLD % (ISTIO, "VirtualService", "conditions: [5, {status: 'True'}], parents: {a: b}"),
    ],
)
def test_what_is_not(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "{apiVersion: v1, kind: Namespace, metadata: {name: a, labels: [istio-injection]}}",
        "{apiVersion: v1, kind: Pod, metadata: {name: a, annotations: {istio.io/x: 5}}, spec: 3}",
        "{apiVersion: apps/v1, kind: Deployment, metadata: {name: a}, spec: {template: []}}",
        "{apiVersion: v1, kind: Service, metadata: {name: a}, spec: {ports: [80]}}",
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio-sidecar-injector}, data: [1]}",
    ],
)
def test_what_is_no_document_of_its_kind_breaks_nothing(text: str) -> None:
    found(text)


@pytest.mark.parametrize("hooks", ["5", "[5]", "[{name: a.sidecar-injector.istio.io}, x]"])
def test_neither_do_webhooks_that_are_none(hooks: str) -> None:
    head = "apiVersion: v1, kind: MutatingWebhookConfiguration"
    found(f"{{{head}, metadata: {{name: a, labels: 3}}, webhooks: {hooks}}}")


def test_a_running_mesh_is_judged_as_far_as_it_is_known() -> None:
    # proves: Pod spec.hostNetwork
    assert running(SHOP + POD % ("", "", APP)) == [("IST0103", "Pod/shop/a", "spec")]
    assert running(SHOP + POD % ("", "", f"hostNetwork: true, {APP}")) == []
    assert running(SHOP + POD % ("", STATUS, APP)) == []
    assert running(NAMESPACE % ("shop", "")) == [("IST0102", "Namespace//shop", "metadata.labels")]
