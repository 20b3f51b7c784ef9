import json
import sys
import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields

from libs.api import mesh_config, reasons, registry
from libs.api.check import check, check_files, check_raw
from libs.api.kubernetes import ConfigMap
from libs.api.networking.virtual_service import VirtualService
from libs.api.problem import Severity
from libs.api.resource import Metadata
from tests.support.shapes import shaped

TEXT = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: good, namespace: here}
spec:
  hosts: [reviews]
  http:
  - route: [{destination: {host: reviews}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bad}
spec:
  hosts: [reviews]
  http:
  - timeout: 0s
    corsPolicy:
      allowOrigin: [a]
---
a: [
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
"""


def test_each_document_is_found_with_what_is_wrong() -> None:
    good, bad, broken, ignored = check(TEXT, "f.yaml")
    assert isinstance(good.resource, VirtualService)
    assert (good.kind, good.namespace, good.name, good.document) == (
        "VirtualService",
        "here",
        "good",
        0,
    )
    assert (good.errors, good.warnings) == ((), ())
    assert bad.resource is None
    assert [(error.line, error.path) for error in bad.errors] == [
        (15, "spec.http[0]"),
        (15, "spec.http[0].timeout"),
    ]
    assert [(warning.line, warning.reason) for warning in bad.warnings] == [(17, "Deprecated")]
    assert bad.errors[0].severity is Severity.ERROR
    assert bad.warnings[0].severity is Severity.WARNING
    assert bad.errors[0].file == "f.yaml"
    assert (broken.document, broken.kind, broken.errors[0].line) == (2, "", 20)
    assert (ignored.kind, ignored.name, ignored.resource) == ("Deployment", "app", None)
    assert (ignored.errors, ignored.warnings) == ((), ())


def test_of_a_resource_written_twice_the_first_counts() -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"
    other = pod.replace("Pod", "ServiceAccount")
    one, two, three, four = check_files([("a", f"{pod}---\n{other}"), ("b", f"{pod}---\n{pod}")])
    assert one.resource is not None
    assert two.errors == ()
    for finding in (three, four):
        assert finding.resource is None
        assert [error.reason for error in finding.errors] == [reasons.DUPLICATE_RESOURCE]
        assert finding.errors[0].file == "b"


@pytest.mark.parametrize(
    ("api_version", "kind"),
    [
        ("gateway.networking.k8s.io/v1", "Gateway"),
        ("serving.knative.dev/v1", "Service"),
        ("example.com/v1", "VirtualService"),
    ],
)
def test_kinds_of_one_name_are_not_one_kind(api_version: str, kind: str) -> None:
    head = f"kind: {kind}\nmetadata: {{name: a}}\n"
    ours = next(it for it in registry.KINDS if it.name == kind).api_versions[0]
    other, own = check_files(
        [("f", f"apiVersion: {api_version}\n{head}---\napiVersion: {ours}\n{head}")]
    )
    assert (other.kind, own.kind) == (kind, kind)
    assert own.ref == f"{kind}/default/a"
    assert other.ref == f"{kind}.{api_version.partition('/')[0]}/default/a"
    assert reasons.DUPLICATE_RESOURCE not in [error.reason for error in own.errors]


def test_a_wrong_version_of_a_kind_is_still_that_kind() -> None:
    text = "apiVersion: networking.istio.io/v9\nkind: Gateway\nmetadata: {name: a}\n"
    (finding,) = check(text, "f")
    assert finding.ref == "Gateway/default/a"


def test_a_cluster_may_complete_what_is_written() -> None:
    def complete(ref: str, raw: object) -> dict[str, object]:
        assert ref == "Pod/default/a"
        assert isinstance(raw, dict)
        return {**raw, "status": {"podIP": "10.0.0.1"}}

    (finding,) = check("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n", "f", complete)
    assert finding.resource is not None
    assert "10.0.0.1" in str(finding.resource)


def test_the_mesh_s_own_settings_are_read() -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {mesh: 'zebra: 1'}\n"
    (finding,) = check(config % "istio", "f")
    assert [(it.path, it.line) for it in finding.warnings] == [("data.mesh.zebra", 4)]
    assert finding.errors == ()
    (finding,) = check(config % "other", "f")
    assert finding.warnings == finding.errors == ()


def test_admission_asks_about_raw_data() -> None:
    raw = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {}}
    resource, problems = check_raw(raw)
    assert resource is None
    assert [problem.path for problem in problems] == ["spec.ports"]


def routes(count: int, route: str) -> str:
    head = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n"
    return f"{head}  hosts: [a]\n  http:\n" + "".join(
        route.replace("#", str(number)) for number in range(count)
    )


def istio(kind: str, spec: str) -> str:
    api_version = next(it.api_versions[0] for it in registry.KINDS if it.name == kind)
    return f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: a}}\nspec:\n{spec}"


def many(count: int, item: str) -> str:
    return "".join(item.replace("#", str(number)) for number in range(count))


HOSTILE = {
    "routes": routes(
        9000, "  - {match: [{uri: {prefix: /#}}], route: [{destination: {host: a}}]}\n"
    ),
    "nested prefixes": routes(9000, "  - {match: [{uri: {prefix: /a#}}]}\n"),
    "bad expressions": routes(15_000, "  - {match: [{uri: {regex: '(a+)+$#('}}]}\n"),
    "expressions": routes(9000, "  - {match: [{uri: {regex: '(a+)+$#'}}], redirect: {uri: /}}\n"),
    "unknown fields": routes(20_000, "  - {zebra#: {}}\n"),
    "headers": routes(9000, "  - {headers: {request: {set: {x#: '%%%%%%%'}}}}\n"),
    "hosts": routes(1, "  - {}\n").replace("[a]", str([f"*.h{n}.com" for n in range(40_000)])),
    "same hosts": routes(1, "  - {}\n").replace("[a]", str(["a"] * 90_000)),
    "a long host": routes(1, "  - {}\n").replace("[a]", f"[{'a.' * 400_000}]"),
    "servers": istio(
        "Gateway",
        "  servers:\n"
        + many(9000, "  - {port: {number: 1, name: a#, protocol: TLS}, hosts: [a#]}\n"),
    ),
    "egress hosts": istio("Sidecar", "  egress:\n  - hosts:\n" + many(60_000, "    - n#/a.b\n")),
    "endpoints": istio(
        "ServiceEntry",
        "  hosts: [a]\n  resolution: STATIC\n  ports:\n"
        + many(256, "  - {number: #, name: a#}\n")
        + "  endpoints:\n"
        + many(4000, "  - {address: 1.2.3.4, ports: {a1: 1, b#: 2}}\n"),
    ),
    "patches": istio(
        "EnvoyFilter",
        "  configPatches:\n"
        + many(9000, "  - {applyTo: CLUSTER, patch: {operation: MERGE, value: {a: {b: [#]}}}}\n"),
    ),
    "keys": istio(
        "RequestAuthentication",
        '  jwtRules:\n  - issuer: a\n    jwks: \'{"keys":['
        + '{"kty":"oct","k":"AA"},' * 40_000
        + "]}'\n",
    ),
    "filters": istio(
        "Telemetry",
        "  accessLogging:\n" + many(9000, "  - {filter: {expression: '((((((a # b))))))'}}\n"),
    ),
    "variables": istio(
        "WasmPlugin", "  url: a\n  vmConfig:\n    env:\n" + many(30_000, "    - {name: a#}\n")
    ),
    "dashes": routes(1, "  - {}\n").replace("[a]", f"[a{'-' * 900_000}]"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_megabyte_of_malice_is_judged_in_time(name: str) -> None:
    start = time.process_time()
    findings = check(HOSTILE[name], "f")
    took = (time.process_time() - start) * 1000
    sys.stdout.write(f"{name}: {took:.0f} ms for {len(HOSTILE[name])} characters\n")
    assert len(findings) == 1


def test_a_folder_of_a_thousand_services_and_two_hundred_policies_is_cheap() -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "spec": {"ports": [{"port": 80, "name": "a"}]},
    }
    rule = {"to": [{"operation": {"methods": ["GET"], "paths": ["/a/*"]}}]}
    policy = {"kind": "AuthorizationPolicy", "spec": {"rules": [rule]}}
    policy["apiVersion"] = "security.istio.io/v1"
    raws = [{**service, "metadata": {"name": f"s{n}"}} for n in range(1000)]
    raws += [{**policy, "metadata": {"name": f"p{n}"}} for n in range(200)]
    text = "\n---\n".join(json.dumps(raw, indent=1) for raw in raws)
    start = time.process_time()
    findings = check_files([("f", text)])
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.0f} ms\n")
    assert all(finding.resource is not None for finding in findings)
    assert len(findings) == 1200


@given(st.text(max_size=300))
def test_no_text_makes_it_raise(text: str) -> None:
    for finding in check(text, "f"):
        assert (finding.resource is None) or not finding.errors


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 600)
    | st.sampled_from(
        ["", "a", "*", "*.b", "(", "1s", "-1s", "%", "a/b", "10.0.0.0/8", "é", "\ud800"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab*"), inner),
    max_leaves=4,
)
FIELDS = """
hosts gateways http tls tcp exportTo name match route redirect directResponse delegate rewrite
timeout retries fault mirror mirrors corsPolicy headers destination host subset port number weight
uri prefix exact regex sniHosts destinationSubnets trafficPolicy subsets labels loadBalancer simple
consistentHash localityLbSetting distribute failover from to connectionPool outlierDetection mode
portLevelSettings workloadSelector selector matchLabels mtls portLevelMtls action provider rules
source operation when key values principals serviceAccounts ipBlocks paths ports targetRef kind
servers protocol bind credentialName cipherSuites ecdhCurves endpoints addresses address resolution
ingress egress defaultEndpoint outboundTrafficPolicy egressProxy template probe httpGet exec command
configPatches applyTo patch value listener filterChain filter subFilter proxy proxyVersion priority
jwtRules issuer jwks jwksUri fromHeaders outputClaimToHeaders tracing metrics accessLogging
customTags overrides tagOverrides expression url sha256 pluginConfig vmConfig env wasm lua
targetRefs backend service pathType
"""
SPECS = st.recursive(
    VALUES,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(FIELDS.split()), inner, max_size=4)
    ),
    max_leaves=25,
)
KINDS = st.sampled_from([kind for kind in registry.KINDS if kind.struct])
ANNOTATIONS = {
    "istio.io/dry-run": "x",
    "proxy.istio.io/config": "a: [",
    "kubernetes.io/ingress.class": "istio",
}


@given(KINDS, SPECS)
def test_no_spec_makes_it_raise(kind: registry.Kind, spec: object) -> None:
    metadata = {"name": "a", "annotations": ANNOTATIONS}
    raw = {"apiVersion": kind.api_versions[-1], "kind": kind.name, "metadata": metadata}
    check_raw({**raw, "spec": spec})


@pytest.mark.parametrize("kind", [it for it in registry.KINDS if it.struct], ids=lambda it: it.name)
@given(st.randoms(use_true_random=False))
def test_no_value_of_the_right_type_makes_it_raise(kind: registry.Kind, random: Random) -> None:
    assert kind.struct is not None
    wanted = [it for it in fields(kind.struct) if it.name != "metadata"]
    raw = {it.encode_name: shaped(it.type, random.choice) for it in wanted}
    metadata = {"name": "a", "namespace": "here", "annotations": ANNOTATIONS}
    raw |= {"apiVersion": kind.api_versions[0], "kind": kind.name, "metadata": metadata}
    _, problems = check_raw(raw)
    for problem in problems:
        assert problem.path
        assert problem.text


@given(st.randoms(use_true_random=False))
def test_no_mesh_config_makes_it_raise(random: Random) -> None:
    text = json.dumps(shaped(mesh_config.MeshConfig, random.choice))
    mesh_config.read(ConfigMap(Metadata("istio", "istio-system"), {mesh_config.KEY: text}))
