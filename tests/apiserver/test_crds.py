"""The committed CRDs, as a real API server takes them: structural, established, and refusing."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
import yaml

from libs.api.check import check_raw
from libs.api.problem import Severity
from libs.api.reasons import UNSUPPORTED_KIND
from libs.api.registry import BY_NAME
from tests.support.good_specs import GOOD
from tests.support.kube_apiserver import ApiServer, running

FOLDER = Path(__file__).parents[2] / "deploy" / "crds"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ESTABLISHED_SECONDS = 120

BAD = [
    ("AuthorizationPolicy", "{action: BLOCK}", "spec.action"),
    (
        "AuthorizationPolicy",
        "{selector: {}, targetRefs: [{kind: Gateway, name: a}]}",
        "only one of selector, targetRef, targetRefs",
    ),
    (
        "AuthorizationPolicy",
        "{rules: [{from: [{source: {serviceAccounts: [a], principals: [b]}}]}]}",
        "spec.rules[0].from[0].source",
    ),
    ("AuthorizationPolicy", "{selector: {matchLabels: {a: '*'}}}", "spec.selector.matchLabels"),
    ("AuthorizationPolicy", "{targetRef: {kind: A, name: b, namespace: c}}", "spec.targetRef"),
    ("DestinationRule", "{subsets: []}", "spec.host"),
    (
        "DestinationRule",
        "{host: a, trafficPolicy: {connectionPool: {tcp: {connectTimeout: 0s}}}}",
        "spec.trafficPolicy.connectionPool.tcp.connectTimeout",
    ),
    (
        "DestinationRule",
        "{host: a, trafficPolicy: {loadBalancer: {simple: RANDOM, consistentHash: {}}}}",
        "spec.trafficPolicy.loadBalancer",
    ),
    (
        "EnvoyFilter",
        "{configPatches: [{match: {context: GATEWAY, waypoint: {}}}]}",
        "spec.configPatches[0].match",
    ),
    ("EnvoyFilter", "{workloadSelector: {labels: {a: '*'}}}", "spec.workloadSelector.labels"),
    ("Gateway", "{servers: [{hosts: [a]}]}", "spec.servers[0].port"),
    (
        "Gateway",
        (
            "{servers: [{port: {number: 1, name: a, protocol: TLS}, hosts: [a], "
            "tls: {credentialName: a, credentialNames: [b]}}]}"
        ),
        "spec.servers[0].tls",
    ),
    ("PeerAuthentication", "{portLevelMtls: {80: {}}}", "portLevelMtls needs a selector"),
    (
        "PeerAuthentication",
        "{selector: {matchLabels: {a: b}}, portLevelMtls: {0: {}}}",
        "spec.portLevelMtls",
    ),
    ("ProxyConfig", "{concurrency: -1}", "spec.concurrency"),
    ("RequestAuthentication", "{jwtRules: [{jwksUri: 'ftp://a'}]}", "spec.jwtRules[0].jwksUri"),
    (
        "RequestAuthentication",
        "{jwtRules: [{jwks_uri: 'https://a', jwks: a}]}",
        "spec.jwtRules[0]",
    ),
    ("ServiceEntry", "{hosts: ['*']}", "spec.hosts[0]"),
    ("ServiceEntry", "{hosts: [a], endpoints: []}", "with NONE there are no endpoints"),
    ("ServiceEntry", "{hosts: [a], ports: [{number: 0, name: a}]}", "spec.ports[0].number"),
    (
        "ServiceEntry",
        "{hosts: [a], ports: [{number: 1, name: a}, {number: 1, name: b}]}",
        "spec.ports",
    ),
    (
        "ServiceEntry",
        "{hosts: [a], resolution: DNS, addresses: [10.0.0.0/8]}",
        "block of addresses",
    ),
    ("Sidecar", "{egress: [{port: {number: 80}}]}", "spec.egress[0].hosts"),
    ("Telemetry", "{tracing: [{randomSamplingPercentage: 101}]}", "spec.tracing[0].randomSampling"),
    (
        "Telemetry",
        "{metrics: [{overrides: [{tagOverrides: {a: {operation: REMOVE, value: b}}}]}]}",
        "spec.metrics[0].overrides[0].tagOverrides",
    ),
    ("TrafficExtension", "{phase: AUTHN}", "needs exactly one of wasm and lua"),
    ("VirtualService", "{http: [{timeout: 1us}]}", "spec.http[0].timeout"),
    (
        "VirtualService",
        "{http: [{match: [{uri: {exact: a, prefix: b}}]}]}",
        "spec.http[0].match[0].uri",
    ),
    ("WasmPlugin", "{url: 'ftp://a'}", "spec.url"),
    ("WasmPlugin", "{url: a, sha256: abc}", "spec.sha256"),
    (
        "WasmPlugin",
        "{url: a, match: [{ports: [{number: 80}, {number: 80}]}]}",
        "spec.match[0].ports[1]",
    ),
    (
        "WasmPlugin",
        "{url: a, vmConfig: {env: [{name: a, valueFrom: HOST, value: b}]}}",
        "spec.vmConfig.env[0]",
    ),
    ("WorkloadEntry", "{labels: {a: b}}", "needs an address or a network"),
    ("WorkloadEntry", "{address: 'unix://a'}", "spec.address"),
    ("WorkloadEntry", "{address: a, ports: {a_b: 80}}", "spec.ports"),
    ("WorkloadGroup", "{probe: {exec: {command: [a]}}}", "spec.template"),
    (
        "WorkloadGroup",
        "{template: {}, probe: {exec: {command: [a]}, grpc: {}}}",
        "spec.probe",
    ),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """An API server that has every CRD."""
    with running(tmp_path_factory.mktemp("kubernetes")) as found:
        for path in sorted(FOLDER.glob("*.yaml")):
            status, answer = found.create(CRDS, yaml.safe_load(path.read_text()))
            assert status == 201, f"{path.name}: {answer}"
        deadline = monotonic() + ESTABLISHED_SECONDS
        while not all(_is_served(found, kind) for kind in GOOD):
            assert monotonic() < deadline, "not every kind is served"
            sleep(0.1)
        yield found


def _definitions(server: ApiServer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get(CRDS)[1]["items"]
    return found


def _conditions(definition: dict[str, Any]) -> dict[str, str]:
    return {it["type"]: it["status"] for it in definition["status"].get("conditions") or ()}


def _is_served(server: ApiServer, kind: str) -> bool:
    group, plural, versions = _group(kind)
    answers = (server.get(f"/apis/{group}/{version}/{plural}") for version in versions)
    return all(status == 200 for status, _ in answers)


def _group(kind: str) -> tuple[str, str, tuple[str, ...]]:
    found = next(it for it in BY_NAME.values() if it.name == kind and ".istio.io" in it.group)
    return found.group, found.plural, found.versions


def _object(kind: str, version: str, name: str, spec: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{_group(kind)[0]}/{version}",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": json.loads(json.dumps(yaml.safe_load(spec))),  # keys become texts, as over the API
    }


def _create(server: ApiServer, raw: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    group, plural, _ = _group(str(raw["kind"]))
    version = str(raw["apiVersion"]).rpartition("/")[2]
    path = f"/apis/{group}/{version}/namespaces/default/{plural}?fieldValidation=Strict"
    return server.create(path, raw)


def test_every_definition_is_structural(server: ApiServer) -> None:
    definitions = _definitions(server)
    assert len(definitions) == len(GOOD)
    for definition in definitions:
        assert _conditions(definition) == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("kind", GOOD)
def test_good_objects_are_taken_in_every_version(server: ApiServer, kind: str) -> None:
    group, plural, versions = _group(kind)
    for version in versions:
        raw = _object(kind, version, f"good-{version}", GOOD[kind])
        status, answer = _create(server, raw)
        assert status == 201, answer
        for other in versions:
            path = f"/apis/{group}/{other}/namespaces/default/{plural}/good-{version}"
            assert server.get(path)[1]["spec"] == raw["spec"]
        _, problems = check_raw(raw)
        errors = [it for it in problems if it.severity is Severity.ERROR]
        assert [it for it in errors if it.reason != UNSUPPORTED_KIND] == []


@pytest.mark.parametrize(("kind", "spec", "said"), BAD)
def test_bad_objects_are_refused_and_told_where(
    server: ApiServer, kind: str, spec: str, said: str
) -> None:
    raw = _object(kind, _group(kind)[2][0], "bad", spec)
    status, answer = _create(server, raw)
    assert status == 422, answer
    assert said in str(answer["message"])
    assert check_raw(raw)[0] is None


def test_unknown_fields_are_refused_when_asked_strictly(server: ApiServer) -> None:
    status, answer = _create(server, _object("Sidecar", "v1", "unknown", "{egres: []}"))
    assert status == 400
    assert 'unknown field "spec.egres"' in str(answer["message"])


def test_a_status_is_written_apart_from_the_spec(server: ApiServer) -> None:
    raw = _object("ServiceEntry", "v1", "status", GOOD["ServiceEntry"])
    status, stored = _create(server, raw)
    assert status == 201
    path = "/apis/networking.istio.io/v1/namespaces/default/serviceentries/status"
    conditions = [{"type": "Reconciled", "status": "True", "observedGeneration": "1"}]
    addresses = [{"value": "240.240.0.1", "host": "a.b"}]
    stored["status"] = {"conditions": conditions, "addresses": addresses, "more": {"a": 1}}
    stored["spec"] = {"hosts": ["other"]}
    status, answer = server.request("PUT", f"{path}/status", stored)
    assert status == 200, answer
    assert answer["status"] == stored["status"]
    assert answer["spec"] == raw["spec"]


def test_tables_and_short_names_are_those_that_people_know(server: ApiServer) -> None:
    group = server.get("/apis/networking.istio.io/v1")[1]["resources"]
    names = {it["name"]: it.get("shortNames") for it in group}
    assert names["virtualservices"] == ["vs"]
    categories = {it["name"]: it.get("categories") for it in group}
    assert categories["gateways"] == ["istio-io", "networking-istio-io"]
    definitions = {str(it["metadata"]["name"]): it for it in _definitions(server)}
    telemetry = definitions["telemetries.telemetry.istio.io"]["spec"]
    assert [it["name"] for it in telemetry["versions"] if it["storage"]] == ["v1alpha1"]
