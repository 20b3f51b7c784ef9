"""Discovery on a real API server: what its subscribers get of what people apply."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from libs.api import reasons
from libs.kube.client import Client
from libs.model.endpoint import Health, Locality
from libs.model.service import Protocol, Resolution
from tests.support import kube_accounts as kube
from tests.support.control_plane_apps import SYSTEM, Apps, running_apps
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_discovery import (
    DEFINITIONS,
    Subscriber,
    apply,
    define,
    delete,
    on_cluster,
    readiness,
    subscribed,
    until_ready_says,
)

GROUP = "rbac.authorization.k8s.io"
DOMAIN = "shop.svc.cluster.local"
WEB = f"shop/web.{DOMAIN}"
NODE = """
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-1}
"""
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {networking.istio.io/exportTo: "."}}
spec:
  selector: {app: web}
  internalTrafficPolicy: Local
  trafficDistribution: PreferClose
  ports:
  - {name: http, port: 80, targetPort: web}
  - {name: odd, port: 90, targetPort: 9090, appProtocol: kubernetes.io/h2c}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: shop, labels: {{app: web, security.istio.io/tlsMode: istio}}}}
spec:
  nodeName: n1
  serviceAccountName: web
  containers: [{{name: web, image: i, ports: [{{name: web, containerPort: {port}}}]}}]
status:
  phase: Running
  podIP: {ip}
  podIPs: [{{ip: {ip}}}]
  conditions: [{{type: Ready, status: "{ready}"}}]
"""
SLICE = """
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}
  namespace: shop
  labels: {{kubernetes.io/service-name: {service}}}
addressType: IPv4
endpoints:
- addresses: ["{ip}"]
  conditions: {conditions}
  nodeName: n1
  targetRef: {{kind: Pod, name: {pod}, namespace: shop}}
ports: [{{name: http, port: {port}, protocol: TCP}}]
"""
ROUTES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec:
  hosts: [web]
  http: [{{route: [{{destination: {{host: {host}, port: {{number: 80}}}}}}]}}]
"""
MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data: {{mesh: "{text}"}}
"""
READY = "{ready: true, serving: true, terminating: false}"


def _pod(name: str, ip: str, *, port: int = 8080, ready: bool = True) -> str:
    return POD.format(name=name, ip=ip, port=port, ready=ready)


def _slice(
    pod: str, ip: str, *, port: int = 8080, service: str = "web", conditions: str = READY
) -> str:
    name = f"{service}-{pod}"
    return SLICE.format(
        name=name, service=service, pod=pod, ip=ip, port=port, conditions=conditions
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture
async def admin(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    """The administrator, with every CRD and nothing of a test before."""
    async with kube.client_of(server, tmp_path) as client:
        for name in ("shop", "other", SYSTEM):
            await kube.namespace(client, name)
        await kube.account(client, "shop", "web")
        if (await client.get(DEFINITIONS, {"limit": 1}))["items"] == []:
            await define(client)
        await _clear(client)
        yield client


async def _clear(client: Client) -> None:
    for namespace in ("shop", "other", SYSTEM):
        for plural in ("pods", "services", "configmaps", "secrets"):
            path = f"/api/v1/namespaces/{namespace}/{plural}"
            await client.request("DELETE", path, params={"gracePeriodSeconds": 0})
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        await client.request("DELETE", slices)
        for plural in ("virtualservices", "workloadentries"):
            path = f"/apis/networking.istio.io/v1/namespaces/{namespace}/{plural}"
            await client.request("DELETE", path)


@pytest.fixture
async def apps(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as found:
        yield found


@pytest.fixture
async def mesh(apps: Apps, server: ApiServer, admin: Client) -> AsyncIterator[Subscriber]:
    """A subscriber of a discovery that was started on an empty cluster."""
    del admin
    async with on_cluster(apps, server), subscribed(apps) as found:
        yield found


def _addresses(mesh: Subscriber, key: str = WEB) -> dict[str, int]:
    found = mesh.mesh.endpoints.get(key)
    each = found.endpoints if found else ()
    return {it.address: it.port for it in each if it.port_name == "http"}


async def test_what_is_there_at_the_start(apps: Apps, server: ApiServer, admin: Client) -> None:
    await apply(admin, f"{NODE}---{SERVICE}---{_pod('a', '10.1.0.1')}")
    await apply(admin, f"{_slice('a', '10.1.0.1')}---{ROUTES.format(host='web')}")
    async with on_cluster(apps, server) as bound, subscribed(apps) as mesh:
        await mesh.until(lambda: mesh.mesh.services)
        assert await readiness(bound) == (200, "ready\n")
        service = mesh.mesh.services[WEB]
        assert [(it.number, it.protocol) for it in service.ports] == [
            (80, Protocol.HTTP),
            (90, Protocol.HTTP2),
        ]
        assert service.export_to == (".",)
        assert service.node_local
        assert service.traffic_distribution == "PreferClose"
        assert service.addresses[0].startswith("10.")
        (endpoint,) = mesh.mesh.endpoints[WEB].endpoints
        assert (endpoint.address, endpoint.port) == ("10.1.0.1", 8080)
        assert endpoint.locality == Locality("eu", "eu-1")
        assert endpoint.service_account == "web"
        assert endpoint.mtls
        assert len(mesh.mesh.routings) == 1
        assert [it.name for it in mesh.mesh.workloads.values()] == ["a"]
        assert mesh.reasons == set()


async def test_endpoints_move_as_slices_and_pods_do(mesh: Subscriber, admin: Client) -> None:
    await apply(admin, SERVICE)
    await apply(admin, _slice("a", "10.1.0.1"))  # before its pod
    await mesh.until(lambda: WEB in mesh.mesh.services)
    assert _addresses(mesh) == {}
    await apply(admin, _pod("a", "10.1.0.1"))
    await mesh.until(lambda: _addresses(mesh) == {"10.1.0.1": 8080})
    # Another pod whose port of the same name is another number has a slice of its own.
    await apply(
        admin, _pod("b", "10.1.0.2", port=9000) + "---" + _slice("b", "10.1.0.2", port=9000)
    )
    await mesh.until(lambda: _addresses(mesh) == {"10.1.0.1": 8080, "10.1.0.2": 9000})
    await delete(admin, "EndpointSlice", "shop", "web-a")
    await mesh.until(lambda: _addresses(mesh) == {"10.1.0.2": 9000})
    await apply(admin, _pod("b", "10.1.0.2", port=9000, ready=False))
    await mesh.until(lambda: _addresses(mesh) == {})
    await delete(admin, "Service", "shop", "web")
    await mesh.until(lambda: WEB not in mesh.mesh.services)


async def test_ends_of_life_and_those_who_serve_before_they_are_ready(
    mesh: Subscriber, admin: Client
) -> None:
    def health(service: str, address: str) -> Health | None:
        found = mesh.mesh.endpoints.get(f"shop/{service}.{DOMAIN}")
        each = found.endpoints if found else ()
        return next((it.health for it in each if it.address == address), None)

    await apply(admin, SERVICE)
    sticky = SERVICE.replace("name: web,", "name: sticky,", 1).replace(
        "annotations: {", "labels: {istio.io/persistent-session: x}, annotations: {"
    )
    early = SERVICE.replace("name: web,", "name: early,", 1).replace(
        "selector:", "publishNotReadyAddresses: true\n  selector:"
    )
    await apply(admin, f"{sticky}---{early}---{_pod('a', '10.1.0.1')}")
    leaving = "{ready: false, serving: true, terminating: true}"
    for service in ("web", "sticky"):
        await apply(admin, _slice("a", "10.1.0.1", service=service))
        await mesh.until(lambda: health(service, "10.1.0.1") is Health.HEALTHY)  # noqa: B023
        await apply(admin, _slice("a", "10.1.0.1", service=service, conditions=leaving))
    await mesh.until(lambda: health("web", "10.1.0.1") is None)
    await mesh.until(lambda: health("sticky", "10.1.0.1") is Health.DRAINING)
    failing = "{ready: false, serving: false, terminating: false}"
    await apply(admin, _slice("a", "10.1.0.1", conditions=failing))
    await mesh.until(lambda: health("web", "10.1.0.1") is Health.UNHEALTHY)
    await apply(admin, _pod("b", "10.1.0.2", ready=False))
    await apply(admin, _slice("b", "10.1.0.2", service="early"))
    await mesh.until(lambda: health("early", "10.1.0.2") is Health.HEALTHY)


async def test_services_without_an_address_of_their_own(mesh: Subscriber, admin: Client) -> None:
    headless = (
        SERVICE.replace("spec:", "spec:\n  clusterIP: None", 1)
        .replace("name: web,", "name: headless,", 1)
        .replace("  internalTrafficPolicy: Local\n", "")
    )
    await apply(admin, f"{headless}---{_pod('a', '10.1.0.1')}")
    await apply(admin, _slice("a", "10.1.0.1", service="headless"))
    outside = """
apiVersion: v1
kind: Service
metadata: {name: outside, namespace: shop}
spec: {type: ExternalName, externalName: example.org, ports: [{name: http, port: 80}]}
"""
    await apply(admin, outside)
    key = f"shop/headless.{DOMAIN}"
    await mesh.until(lambda: _addresses(mesh, key) == {"10.1.0.1": 8080})
    assert mesh.mesh.services[key].resolution is Resolution.ORIGINAL
    await mesh.until(lambda: f"shop/outside.{DOMAIN}" in mesh.mesh.services)
    assert mesh.mesh.services[f"shop/outside.{DOMAIN}"].alias_of == "example.org"


async def test_machines_join_by_the_selector(mesh: Subscriber, admin: Client) -> None:
    entry = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: vm, namespace: shop}
spec: {address: 192.0.2.7, labels: {app: web}, ports: {http: 8088}, serviceAccount: web}
"""
    await apply(admin, f"{SERVICE}---{entry}")
    await mesh.until(lambda: _addresses(mesh).get("192.0.2.7") == 8088)
    await delete(admin, "WorkloadEntry", "shop", "vm")
    await mesh.until(lambda: _addresses(mesh) == {})


async def test_a_bad_object_keeps_its_last_good_state_and_stops_nothing(
    mesh: Subscriber, admin: Client
) -> None:
    await apply(admin, SERVICE + "---" + ROUTES.format(host="web"))
    await mesh.until(lambda: mesh.mesh.routings and WEB in mesh.mesh.services)
    (good,) = mesh.mesh.routings.values()
    # What the CRD lets pass and we do not: an empty destination.
    await apply(admin, ROUTES.format(host='"not a host!"'))
    await mesh.until(lambda: mesh.reasons)
    assert list(mesh.mesh.routings.values()) == [good]
    await apply(admin, _pod("a", "10.1.0.1") + "---" + _slice("a", "10.1.0.1"))
    await mesh.until(lambda: _addresses(mesh))
    await apply(admin, ROUTES.format(host="web"))
    await mesh.until(lambda: not mesh.reasons)


async def test_what_is_given_to_another_revision_is_left_to_it(
    mesh: Subscriber, admin: Client
) -> None:
    await apply(admin, SERVICE + "---" + ROUTES.format(host="web"))
    await mesh.until(lambda: mesh.mesh.routings)
    path = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/web"
    kind = "application/merge-patch+json"
    for revision, ours in (("canary", False), ("default", True), ("canary", False), (None, True)):
        label = {"metadata": {"labels": {"istio.io/rev": revision}}}
        await admin.request("PATCH", path, body=label, content_type=kind)
        await mesh.until(lambda ours=ours: bool(mesh.mesh.routings) == ours)
        await mesh.until(lambda ours=ours: ("OtherRevision" in mesh.reasons) != ours)


async def test_the_settings_of_the_mesh_change_while_it_runs(
    mesh: Subscriber, admin: Client
) -> None:
    await apply(admin, SERVICE)
    await mesh.until(lambda: WEB in mesh.mesh.services)
    assert mesh.mesh.settings.allow_any_outbound
    await apply(admin, MESH.format(text="outboundTrafficPolicy: {mode: REGISTRY_ONLY}"))
    await mesh.until(lambda: not mesh.mesh.settings.allow_any_outbound)
    await apply(admin, MESH.format(text="discoverySelectors: [{matchLabels: {mesh: in}}]"))
    await mesh.until(lambda: WEB not in mesh.mesh.services)
    label = {"metadata": {"labels": {"mesh": "in"}}}
    kind = "application/merge-patch+json"
    shop = "/api/v1/namespaces/shop"
    await admin.request("PATCH", shop, body=label, content_type=kind)
    await mesh.until(lambda: WEB in mesh.mesh.services)
    await admin.request(
        "PATCH", shop, body={"metadata": {"labels": {"mesh": None}}}, content_type=kind
    )
    await mesh.until(lambda: WEB not in mesh.mesh.services)
    await delete(admin, "ConfigMap", SYSTEM, "istio")
    await mesh.until(lambda: WEB in mesh.mesh.services)
    assert mesh.mesh.settings.allow_any_outbound


async def test_that_the_gateway_api_is_not_followed_is_said(
    mesh: Subscriber, admin: Client
) -> None:
    assert reasons.UNSUPPORTED_KIND not in mesh.reasons
    name = "httproutes.gateway.networking.k8s.io"
    await admin.request("POST", DEFINITIONS, body=_definition(name, "HTTPRoute"))
    try:
        await mesh.until(lambda: reasons.UNSUPPORTED_KIND in mesh.reasons)
        (text,) = mesh.texts(reasons.UNSUPPORTED_KIND)
        assert "HTTPRoute" in text
        assert "no effect" in text
    finally:
        await admin.request("DELETE", f"{DEFINITIONS}/{name}")
    await mesh.until(lambda: reasons.UNSUPPORTED_KIND not in mesh.reasons)


def _definition(name: str, kind: str) -> dict[str, Any]:
    """Return a CRD that leaves open what is in its objects."""
    plural, _, group = name.partition(".")
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": name,
            # Names of this group are the API's own: a server asks for its approval.
            "annotations": {"api-approved.kubernetes.io": "https://example.com/review"},
        },
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_settings_of_a_revision(apps: Apps, server: ApiServer, admin: Client) -> None:
    def called(name: str, text: str) -> str:
        return MESH.format(text=text).replace("name: istio,", f"name: {name},")

    refuse = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"
    own = called("istio-canary", "trustDomain: canary.example")
    await apply(admin, called("istio", "trustDomain: default.example"))
    await apply(admin, called("shared", f"{{{refuse}, trustDomain: shared.example}}"))
    changes: dict[str, object] = {"revision": "canary", "shared_mesh_config": "shared"}
    async with on_cluster(apps, server, **changes), subscribed(apps) as mesh:
        await mesh.until(lambda: mesh.mesh.settings.trust_domain == "shared.example")
        await apply(admin, own)
        await mesh.until(lambda: mesh.mesh.settings.trust_domain == "canary.example")
        assert not mesh.mesh.settings.allow_any_outbound
        assert mesh.mesh.settings.ref == f"ConfigMap/{SYSTEM}/istio-canary"


async def test_a_kind_whose_definition_comes_later(
    apps: Apps, server: ApiServer, admin: Client
) -> None:
    await admin.request("DELETE", f"{DEFINITIONS}/telemetries.telemetry.istio.io")
    await apply(admin, SERVICE)
    telemetry = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: quiet, namespace: shop}
spec: {accessLogging: [{disabled: true}]}
"""
    async with on_cluster(apps, server), subscribed(apps) as mesh:
        await mesh.until(lambda: WEB in mesh.mesh.services)
        assert mesh.reasons == set()
        await define(admin, "telemetries")
        await apply(admin, telemetry)
        await mesh.until(lambda: len(mesh.mesh.telemetry) == 1)


async def test_until_everything_may_be_listed_it_is_not_ready_and_says_why(
    apps: Apps, server: ApiServer, admin: Client
) -> None:
    await kube.account(admin, SYSTEM, "poor")
    token = await _token(admin, "poor")
    await _grant(admin, "poor", secrets=False)
    async with asyncio.timeout(60), on_cluster(apps, server, token=token) as bound:
        # A grant reaches the API server's authorizer some moments after it was answered.
        said = await until_ready_says(bound, 503, "secrets (403", without="pods")
        assert 'cannot list resource "secrets"' in said
        await _grant(admin, "poor", secrets=True)
        await until_ready_says(bound, 200, seconds=60)


async def _token(admin: Client, account: str) -> str:
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{account}/token"
    return str((await admin.request("POST", path, body=request))["status"]["token"])


async def _grant(admin: Client, account: str, *, secrets: bool) -> None:
    core = ["services", "pods", "nodes", "namespaces", "serviceaccounts", "configmaps"]
    others = [
        "networking.istio.io",
        "security.istio.io",
        "telemetry.istio.io",
        "extensions.istio.io",
        "networking.k8s.io",
        "discovery.k8s.io",
        "apiextensions.k8s.io",
    ]
    verbs = ["list", "watch"]
    rules = [
        {"apiGroups": [""], "resources": core, "verbs": verbs},
        {"apiGroups": others, "resources": ["*"], "verbs": verbs},
    ]
    if secrets:
        rules.append({"apiGroups": [""], "resources": ["secrets"], "verbs": verbs})
    roles = f"/apis/{GROUP}/v1"
    body = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": account},
        "rules": rules,
    }
    options = {"fieldManager": "test", "force": "true"}
    kind = "application/apply-patch+yaml"
    path = f"{roles}/clusterroles/{account}"
    await admin.request("PATCH", path, params=options, body=body, content_type=kind)
    binding = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": account},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": account,
        },
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": SYSTEM}],
    }
    path = f"{roles}/clusterrolebindings/{account}"
    await admin.request("PATCH", path, params=options, body=binding, content_type=kind)
