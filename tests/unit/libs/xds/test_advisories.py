"""What went wrong in other control planes when they judged or generated configuration.

Each test is named after what went wrong, and has a control: what must still work, or what goes
wrong without the defence, so that the test can fail.
"""

import pytest
from envoy.extensions.filters.http.jwt_authn.v3.config_pb2 import JwtAuthentication
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from msgspec import structs

from libs.api import documents
from libs.api.check import check, check_raw
from libs.api.validate import proxy_defaults
from libs.model.mesh import Mesh
from libs.model.security import AccessPolicy, Action
from libs.model.settings import MeshSettings
from libs.model.tokens import NOBODY
from libs.proxy.scoper import Scoper
from libs.runtime.reach import Reach, refusal
from libs.xds import credentials
from libs.xds.generate import GENERATORS
from libs.xds.generate.filters import jwt, rbac
from libs.xds.types import LISTENER
from services.ctl.render import build, find
from tests.support import mesh as rows
from tests.support.rbac import Call, allowed
from tests.support.resources import mesh_of
from tests.support.scopes import listeners

PATCH = """
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: f, namespace: shop}
spec:
  configPatches:
  - applyTo: CLUSTER
    match: {context: SIDECAR_OUTBOUND, proxy: {proxyVersion: 'PATTERN'}}
    patch: {operation: MERGE, value: {connect_timeout: 1s}}
"""
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, namespace: shop}
spec:
"""


def _policies(spec: str) -> tuple[AccessPolicy, ...]:
    return tuple(mesh_of(POLICY + spec).access_policies.values())


def _lets(spec: str, call: Call, *, tcp: bool = False) -> bool:
    policies, settings = _policies(spec), MeshSettings()
    if tcp:
        networks = rbac.network_filters(policies, settings)
        bodies = [one.typed_config.value for one in networks]
        return allowed([network_rbac.RBAC.FromString(body).rules for body in bodies], call)
    bodies = [one.typed_config.value for one in rbac.http_filters(policies, settings)]
    return allowed([http_rbac.RBAC.FromString(body).rules for body in bodies], call)


def _caller(identity: str, path: str = "/", host: str = "web") -> Call:
    name = f"spiffe://{identity}" if identity else ""
    return Call(identity=name, headers={":path": path, ":authority": host, ":method": "GET"})


# ISTIO-SECURITY-2026-006: the expression was compiled in the webhook and again at every push.
def test_an_endless_expression_of_a_proxy_version_is_never_compiled() -> None:
    def applied(pattern: str) -> bool:
        mesh, _ = build({"a.yaml": PATCH.replace("PATTERN", pattern) + "---\n" + _pods("shop")})
        scope = Scoper().scope(mesh, find(mesh, "client.shop", {"ISTIO_VERSION": "a" * 2000}))
        return bool(scope.inbound.patches)

    assert not applied("a" * 1025)
    assert applied("^a+$")
    assert not applied("(a+)+b$")  # of two thousand letters: RE2 does not backtrack
    (finding,) = check(PATCH.replace("PATTERN", "a" * 1025), "a.yaml")
    assert "InvalidRegex" in {it.reason for it in (*finding.errors, *finding.warnings)}


# CVE-2022-24726, CVE-2022-39278: whoever could create a pod could end the control plane.
def test_an_annotation_nested_without_end_is_a_problem_and_no_crash() -> None:
    pod = """
apiVersion: v1
kind: Pod
metadata: {name: a, annotations: {proxy.istio.io/config: '%s'}}
"""

    def said(value: str) -> set[str]:
        (document,) = documents.read(pod % value, "a.yaml")
        assert document.raw is not None
        return {it.reason for it in check_raw(document.raw)[1]}

    assert said("[" * 10_000) & {"TooDeep", "InvalidYaml"}
    assert "TooLarge" in said("[" * (proxy_defaults.MAX_TEXT + 1))
    assert not said("concurrency: 2")


# CVE-2021-34824: any authenticated client got any key, because the cache did not ask whose it was.
@pytest.mark.parametrize("name", ["kubernetes://bank/key", "kubernetes://../bank/key", "key"])
def test_a_secret_of_another_namespace_has_no_name_here(name: str) -> None:
    assert credentials.parse(name, "shop") is None
    assert credentials.parse("kubernetes://key", "shop") is not None
    assert credentials.parse("kubernetes://bank/key", "bank") is not None


def test_what_two_namespaces_may_see_never_shares_a_key_of_the_cache() -> None:
    text = """
apiVersion: v1
kind: Service
metadata: {name: hidden, namespace: bank, annotations: {networking.istio.io/exportTo: "."}}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}
---
""" + _pods("bank", "shop", "mall")
    mesh, _ = build({"a.yaml": text})
    scoper = Scoper()
    digests = {
        namespace: scoper.scope(mesh, find(mesh, f"client.{namespace}", {})).outbound_digest
        for namespace in ("bank", "shop", "mall")
    }
    assert digests["bank"] != digests["shop"]
    assert len(set(digests.values())) == 3  # names resolve differently, too


def _pods(*namespaces: str) -> str:
    return "---\n".join(
        f"""apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: {namespace}, labels: {{app: client}}}}
spec: {{serviceAccountName: client}}
status: {{podIP: 10.1.0.{at}, conditions: [{{type: Ready, status: "True"}}]}}
"""
        for at, namespace in enumerate(namespaces, 1)
    )


# CVE-2026-31837: without keys of an issuer, tokens were verified with a key that everybody knows.
def test_an_issuer_without_keys_lets_no_token_in() -> None:
    rule = """
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: r, namespace: shop}
spec: {jwtRules: [{issuer: https://issuer.example, jwksUri: "https://issuer.example/keys"}]}
"""
    assert _keys(rule) == f'{{"keys":[{NOBODY}]}}'
    assert '"d"' not in NOBODY  # the private half of that one is not even ours
    key = '{"kty": "oct", "k": "' + "YQ" * 40 + '"}'
    known = rule.replace('jwksUri: "https://issuer.example/keys"', f"jwks: '{{\"keys\": [{key}]}}'")
    assert '"oct"' in _keys(known)


def _keys(rule: str) -> str:
    policies = mesh_of(rule).token_policies.values()
    (only,) = jwt.http_filters(policies)
    (provider,) = JwtAuthentication.FromString(only.typed_config.value).providers.values()
    return provider.local_jwks.inline_string


# GHSA-fgw5-hp8f-xfhc: the address of a policy's keys was asked wherever it led.
@pytest.mark.parametrize(
    "address", ["169.254.169.254", "127.0.0.1", "::ffff:127.0.0.1", "::1", "fd00:ec2::254"]
)
def test_keys_are_not_fetched_from_ourselves_or_from_the_clouds_metadata(address: str) -> None:
    assert refusal(address, Reach())
    assert not refusal("203.0.113.7", Reach())


# CVE-2026-39350: a dot in a name was any character of the expression.
def test_a_dot_in_a_service_account_is_a_dot() -> None:
    spec = '  rules: [{from: [{source: {serviceAccounts: ["shop/a.b"]}}]}]\n'
    assert _lets(spec, _caller("cluster.local/ns/shop/sa/a.b"))
    assert not _lets(spec, _caller("cluster.local/ns/shop/sa/axb"))
    suffix = '  rules: [{from: [{source: {principals: ["*/sa/a.b"]}}]}]\n'
    assert _lets(suffix, _caller("cluster.local/ns/shop/sa/a.b"))
    assert not _lets(suffix, _caller("cluster.local/ns/shop/sa/axb"))


# CVE-2021-31921: a gateway that passed TLS on by its name led to every service there is.
def test_a_gateway_that_passes_on_by_name_leads_only_where_its_server_says() -> None:
    text = """
apiVersion: v1
kind: Pod
metadata:
  name: gw
  namespace: edge
  labels: {istio: gw}
  annotations: {inject.istio.io/templates: gateway}
spec: {serviceAccountName: gw}
status: {podIP: 10.1.0.9, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: cross, namespace: edge}
spec:
  selector: {istio: gw}
  servers:
  - port: {number: 15443, name: tls, protocol: TLS}
    tls: {mode: AUTO_PASSTHROUGH}
    hosts: ["*.open.svc.cluster.local"]
---
""" + "---\n".join(
        f"""apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec: {{clusterIP: 10.0.0.{at}, ports: [{{name: http, port: 80}}]}}
"""
        for at, namespace in enumerate(("open", "closed"), 1)
    )
    mesh, _ = build({"a.yaml": text})
    body = _gateway_listener(mesh)
    assert b"outbound_.80_._.web.open.svc.cluster.local" in body
    assert b"web.closed.svc" not in body


def _gateway_listener(mesh: Mesh) -> bytes:
    scope = Scoper().scope(mesh, find(mesh, "gw.edge", {}))
    return GENERATORS[LISTENER](scope).resources["0.0.0.0_15443"].body


# CVE-2021-31920, CVE-2021-39156, CVE-2020-8595: a path was judged in another form than it was used.
def test_paths_are_normalised_before_anything_judges_them() -> None:
    manager = _inbound_manager()
    assert manager.normalize_path.value
    names = [one.name for one in manager.http_filters]
    assert names.index("envoy.filters.http.rbac") < names.index("envoy.filters.http.router")
    spec = "  action: DENY\n  rules: [{to: [{operation: {paths: [/admin]}}]}]\n"
    assert not _lets(spec, _caller("", "/admin"))
    assert not _lets(spec, _caller("", "/admin?x=1"))  # a query is no part of the path
    assert _lets(spec, _caller("", "/administration"))


def _inbound_manager() -> hcm.HttpConnectionManager:
    web = rows.service("web", selector={"app": "web"})
    own = rows.workload("client", labels={"app": "web"})
    policy = rows.access_policy("p", action=Action.DENY)
    found = listeners(web, own, policy)["virtualInbound"]
    served = (it for it in found.filter_chains if it.name.startswith("0.0.0.0_"))
    for one in (one for chain in served for one in chain.filters):
        if one.name == "envoy.filters.network.http_connection_manager":
            return hcm.HttpConnectionManager.FromString(one.typed_config.value)
    raise AssertionError


# CVE-2021-39155 and the note of ISTIO-SECURITY-2021-008: hosts were compared letter by letter.
@pytest.mark.parametrize("host", ["Admin.Example.COM", "admin.example.com:80"])
def test_a_host_in_capitals_or_with_its_port_is_the_same_host(host: str) -> None:
    spec = "  action: DENY\n  rules: [{to: [{operation: {hosts: [admin.example.com]}}]}]\n"
    asked = host.partition(":")[0] if ":" in host else host
    assert not _lets(spec, _caller("", host=asked))
    with_port = spec.replace("admin.example.com", '"admin.example.com:80"')
    assert not _lets(with_port, _caller("", host="admin.example.com:80"))
    assert _lets(spec, _caller("", host="other.example.com"))


# CVE-2020-16844: on TCP, the suffix of a name made an expression that never matched, so a DENY let
# everybody in.
def test_a_suffix_denies_on_tcp_as_well() -> None:
    spec = '  action: DENY\n  rules: [{from: [{source: {principals: ["*/sa/evil"]}}]}]\n'
    assert not _lets(spec, Call(identity="spiffe://cluster.local/ns/x/sa/evil"), tcp=True)
    assert _lets(spec, Call(identity="spiffe://cluster.local/ns/x/sa/good"), tcp=True)


# ISTIO-SECURITY-2021-004: whoever came in plaintext was nobody, and so not the one left out.
@pytest.mark.parametrize(
    "source",
    [
        "notPrincipals: [cluster.local/ns/x/sa/evil]",
        "notNamespaces: [x]",
        "notServiceAccounts: [x/evil]",
        "notTrustDomains: [elsewhere]",
    ],
)
@pytest.mark.parametrize("tcp", [False, True])
def test_whoever_proves_nothing_is_not_let_in_by_what_it_is_not(source: str, tcp: bool) -> None:
    spec = f"  rules: [{{from: [{{source: {{{source}}}}}]}}]\n"
    assert not _lets(spec, _caller(""), tcp=tcp)
    assert _lets(spec, _caller("cluster.local/ns/y/sa/good"), tcp=tcp)
    denied = f"  action: DENY\n{spec}"
    assert not _lets(denied, _caller(""), tcp=tcp)  # and a DENY goes on to cover it


@pytest.mark.parametrize("key", ["source.principal", "source.namespace"])
def test_nor_by_a_condition_of_what_it_is_not(key: str) -> None:
    spec = f"  rules: [{{when: [{{key: {key}, notValues: [x]}}]}}]\n"
    assert not _lets(spec, _caller(""))
    assert _lets(spec, _caller("cluster.local/ns/y/sa/good"))


# CVE-2019-12243: a policy that could not be tested on TCP allowed all.
def test_a_rule_that_cannot_be_tested_on_tcp_allows_nobody() -> None:
    spec = "  rules: [{to: [{operation: {methods: [GET]}}]}]\n"
    assert not _lets(spec, Call(identity="spiffe://cluster.local/ns/x/sa/a"), tcp=True)
    assert _lets(spec, _caller("cluster.local/ns/x/sa/a"))
    denied = f"  action: DENY\n{spec}"
    assert not _lets(denied, Call(), tcp=True)


# ISTIO-SECURITY-2021-001, CVE-2021-21378: where a token might be missing, a bad one passed as well.
@pytest.mark.parametrize("issuers", [1, 2, 3])
def test_a_token_may_be_missing_but_not_bad(issuers: int) -> None:
    rules = ", ".join(f"{{issuer: 'https://{one}', jwks: '{{}}'}}" for one in range(issuers))
    policies = mesh_of(f"""
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: r, namespace: shop}}
spec: {{jwtRules: [{rules}]}}
""").token_policies.values()
    (only,) = jwt.http_filters(policies)
    written = str(JwtAuthentication.FromString(only.typed_config.value).rules)
    assert "allow_missing {" in written
    assert "allow_missing_or_failed" not in written


# CVE-2022-21679, ISTIO-SECURITY-2021-002: when the control plane was newer than a proxy, or told it
# other ports than the one before, policies that named hosts or ports did not hold there.
@pytest.mark.parametrize("version", ["1.0.0", "1.11.4", "1.29.0", "99.0.0", "x"])
def test_policies_mean_the_same_to_a_proxy_of_any_version(version: str) -> None:
    denies = """  action: DENY
  rules: [{to: [{operation: {hosts: [admin.example.com], ports: ["8080"]}}]}]
"""

    def listeners_of(text: str, said: dict[str, str]) -> str:
        mesh, _ = build({"a.yaml": f"{POLICY}{denies}---\n{text}{_pods('shop')}"})
        scope = Scoper().scope(mesh, find(mesh, "client.shop", said))
        return GENERATORS[LISTENER](scope).version

    said = {"ISTIO_VERSION": version}
    assert listeners_of("", said) == listeners_of("", {})
    patch = PATCH.replace("PATTERN", f"^{version}$").replace("CLUSTER", "LISTENER", 1)
    patch = patch.replace("{connect_timeout: 1s}", "{per_connection_buffer_limit_bytes: 9}")
    patch = patch.replace("SIDECAR_OUTBOUND", "ANY") + "---\n"
    assert listeners_of(patch, said) != listeners_of(patch, {})  # versions are read, by patches
    call = structs.replace(_caller("a/ns/b/sa/c", host="admin.example.com"), port=8080)
    assert not _lets(denies, call)
    assert _lets(denies, structs.replace(call, port=80))
