"""What a real Envoy at the edge of the mesh does with strangers: from manifests to answers."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from libs.pki import jwk, keys, tokens
from libs.proxy.scoper import Scoper
from libs.xds import credentials, generate
from libs.xds.credentials import Material
from libs.xds.types import SECRET, NamedResource, Snapshot
from services.ctl import render
from tests.support import traffic
from tests.support.certificates import Certificate, TestAuthority, client_context, uris
from tests.support.envoy import Envoy, free_ports, running
from tests.support.traffic import Answer

pytestmark = pytest.mark.asyncio(loop_scope="module")

EDGE, BEHIND = "127.68.0.1", "127.68.0.11"
AUTHORITY = TestAuthority()
STRANGERS = TestAuthority("strangers")
ONE, TWO, BACKEND = (AUTHORITY.issue(name) for name in ("one", "two", "backend"))
CUSTOMER, STRANGER = AUTHORITY.issue("customer"), STRANGERS.issue("customer")

WORLD = """
apiVersion: v1
kind: Pod
metadata:
  name: gw
  namespace: edge
  labels: {istio: edge}
  annotations: {inject.istio.io/templates: gateway}
spec: {serviceAccountName: gw, containers: [{name: istio-proxy}]}
status: {phase: Running, podIP: 127.68.0.1, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: app}]}
status: {phase: Running, podIP: 127.68.0.11, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  selector: {app: web}
  ports:
    - {name: http, port: 80, targetPort: APPLICATION}
    - {name: tcp, port: 81, targetPort: APPLICATION}
    - {name: tls, port: 443, targetPort: SECURE}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: edge}
spec:
  selector: {istio: edge}
  servers:
SERVERS
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: shop}
spec:
  hosts: ["*.example.com"]
  gateways: [edge/public]
  http:
    - {match: [{uri: {prefix: /teapot}}], directResponse: {status: 418}}
    - {route: [{destination: {host: web, port: {number: 80}}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: streams, namespace: shop}
spec:
  hosts: [passed.example.com, bytes.example.org]
  gateways: [edge/public]
  tls:
    - match: [{sniHosts: [passed.example.com]}]
      route: [{destination: {host: web, port: {number: 443}}}]
  tcp: [{route: [{destination: {host: web, port: {number: 81}}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: thief, namespace: thief}
spec: {hosts: ["*"], gateways: [edge/public], http: [{directResponse: {status: 500}}]}
"""

SERVERS = (
    ("HTTPS", "one", "HTTPS", "shop/one.example.com", "{mode: SIMPLE, credentialName: one}"),
    ("HTTPS", "two", "HTTPS", "shop/*.two.example.com", "{mode: SIMPLE, credentialName: two}"),
    ("HTTPS", "mutual", "HTTPS", "shop/mutual.example.com", "{mode: MUTUAL, credentialName: one}"),
    (
        "HTTPS",
        "optional",
        "HTTPS",
        "shop/optional.example.com",
        "{mode: OPTIONAL_MUTUAL, credentialName: one}",
    ),
    ("HTTPS", "mesh", "HTTPS", "shop/mesh.example.com", "{mode: ISTIO_MUTUAL}"),
    ("HTTPS", "passed", "TLS", "shop/passed.example.com", "{mode: PASSTHROUGH}"),
    ("HTTP", "http", "HTTP", "shop/*.example.com", ""),
    ("HTTP", "to-https", "HTTP", "shop/secure.example.org", "{httpsRedirect: true}"),
    ("TCP", "tcp", "TCP", "shop/*", ""),
)
"""Port, name, protocol, host and TLS of each server."""

CLAIMS = """
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: tokens, namespace: edge}
spec:
  selector: {matchLabels: {istio: edge}}
  jwtRules: [{issuer: "https://issuer.example", jwks: 'KEYS'}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: claims, namespace: shop}
spec:
  hosts: [claims.example.com]
  gateways: [edge/public]
  http:
    - match: [{headers: {"@request.auth.claims.group": {exact: staff}}}]
      directResponse: {status: 418}
    - route: [{destination: {host: web, port: {number: 80}}}]
"""

POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-secrets, namespace: edge}
spec:
  selector: {matchLabels: {istio: edge}}
  action: DENY
  rules: [{to: [{operation: {paths: ["/secret*"]}}]}]
"""


class Edge(Struct, frozen=True):
    """A gateway's Envoy and where it listens."""

    envoy: Envoy
    folder: Path
    ports: tuple[int, ...]

    async def ask(
        self, host: str, path: str = "/", tls: ssl.SSLContext | None = None, **headers: str
    ) -> Answer:
        """Send a request for `host`, in clear text or over TLS with its name as SNI."""
        port = self.ports[1] if tls else self.ports[0]
        return await traffic.http(
            (EDGE, port), path, tls=tls, server_name=host, headers={"host": host, **headers}
        )

    def client(self, certificate: Certificate | None = None) -> ssl.SSLContext:
        """Return a TLS client that proves `certificate`."""
        return client_context(certificate, self.folder)

    async def apply(self, more: str = "") -> None:
        """Have Envoy follow the manifests and some more."""
        await self.envoy.serve(_snapshot(self.ports, more))
        assert await self.envoy.complaints() == []


def _snapshot(ports: tuple[int, ...], more: str = "") -> Snapshot:
    text = WORLD.replace("SERVERS", "\n".join(_written(*server) for server in SERVERS)) + more
    for name, port in zip(("HTTP", "HTTPS", "TCP", "APPLICATION", "SECURE"), ports, strict=True):
        text = text.replace(f"number: {name},", f"number: {port},")
        text = text.replace(f"targetPort: {name}}}", f"targetPort: {port}}}")
    mesh, problems = render.build({"world.yaml": text})
    assert {one.reason for one in problems} <= {"SecretNotFound", "DeniesTcp"}, problems
    scope = Scoper().scope(mesh, render.find(mesh, "gw.edge", {}))
    sets = {**generate.snapshot(scope).sets}
    sets[SECRET] = credentials.credential_set("edge", _credentials())
    return Snapshot(sets)


def _written(*server: str) -> str:
    port, name, protocol, host, tls = server
    settings = f", tls: {tls}" if tls else ""
    where = f"port: {{number: {port}, name: {name}, protocol: {protocol}}}"
    return f"    - {{bind: {EDGE}, {where}, hosts: ['{host}']{settings}}}"


def _credentials() -> list[NamedResource]:
    """Return what the control plane would give to the gateway."""
    held = {name: Material(it.chain, it.key, it.roots) for name, it in (("one", ONE), ("two", TWO))}
    found = []
    for name in ("kubernetes://one", "kubernetes://two", "kubernetes://one-cacert"):
        wanted = credentials.parse(name, "edge")
        assert wanted is not None
        make = credentials.roots if wanted.roots else credentials.certificate
        found.append(make(name, wanted, held[wanted.name]))
    return [one for one in found if one is not None]


def _server(folder: Path, certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    path = folder / "server.pem"
    path.write_bytes(certificate.chain + certificate.key)
    context.load_cert_chain(path)
    return context


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def edge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Edge]:
    folder: Path = tmp_path_factory.mktemp("edge")
    ports = tuple(free_ports(5))
    async with (
        traffic.application(BEHIND, ports[3]),
        traffic.application(BEHIND, ports[4], tls=_server(folder, BACKEND)),
        running(_snapshot(ports), AUTHORITY.issue("gw", "edge"), folder) as envoy,
    ):
        yield Edge(envoy, folder, ports)


async def test_a_host_that_is_bound_is_served_and_no_other(edge: Edge) -> None:
    await edge.apply()
    assert (await edge.ask("shop.example.com")).status == 200
    assert (await edge.ask("shop.example.com", "/teapot")).status == 418
    assert (await edge.ask("shop.example.org")).status == 404


async def test_what_a_stranger_says_of_itself_is_not_believed(edge: Edge) -> None:
    await edge.apply()
    claims = {"x-forwarded-client-cert": "By=me", "x-forwarded-for": "1.2.3.4"}
    seen = (await edge.ask("shop.example.com", **claims)).body.lower()
    assert "by=me" not in seen
    hops = seen.partition("x-forwarded-for: ")[2].partition("\r\n")[0].split(",")
    assert hops[0] == "1.2.3.4"
    assert len(hops) == 2  # the gateway says whom it sees, and takes that for the client


@pytest.mark.parametrize(
    ("host", "account"), [("one.example.com", "one"), ("a.two.example.com", "two")]
)
async def test_the_name_that_is_asked_for_chooses_the_certificate(
    edge: Edge, host: str, account: str
) -> None:
    await edge.apply()
    answer = await edge.ask(host, tls=edge.client())
    assert answer.status == 200
    assert uris(answer.peer) == [f"spiffe://cluster.local/ns/shop/sa/{account}"]


async def test_nobody_answers_for_a_name_that_no_server_has(edge: Edge) -> None:
    await edge.apply()
    assert (await edge.ask("three.example.com", tls=edge.client())).status == 0


@pytest.mark.parametrize("host", ["mutual.example.com", "mesh.example.com"])
async def test_who_must_prove_itself_must_prove_it_to_the_right_roots(
    edge: Edge, host: str
) -> None:
    await edge.apply()
    assert (await edge.ask(host, tls=edge.client())).status == 0
    assert (await edge.ask(host, tls=edge.client(STRANGER))).status == 0
    answer = await edge.ask(host, tls=edge.client(CUSTOMER))
    assert answer.status == 200
    assert "uri=spiffe://cluster.local/ns/shop/sa/customer" in answer.body.lower()


async def test_who_may_prove_itself_need_not_but_must_not_lie(edge: Edge) -> None:
    await edge.apply()
    host = "optional.example.com"
    assert (await edge.ask(host, tls=edge.client())).status == 200
    assert (await edge.ask(host, tls=edge.client(CUSTOMER))).status == 200
    assert (await edge.ask(host, tls=edge.client(STRANGER))).status == 0


async def test_tls_is_passed_on_unopened(edge: Edge) -> None:
    await edge.apply()
    answer = await edge.ask("passed.example.com", tls=edge.client())
    assert answer.status == 200
    assert uris(answer.peer) == ["spiffe://cluster.local/ns/shop/sa/backend"]
    assert "x-forwarded" not in answer.body.lower()


async def test_what_is_for_https_is_sent_there(edge: Edge) -> None:
    await edge.apply()
    answer = await edge.ask("secure.example.org", "/cart?id=1")
    assert answer.status == 301
    assert answer.headers["location"] == "https://secure.example.org/cart?id=1"


async def test_bytes_are_carried(edge: Edge) -> None:
    await edge.apply()
    assert (await traffic.exchange((EDGE, edge.ports[2]), b"\x00hello")).body == "\x00HELLO"


async def test_policies_hold_at_the_edge(edge: Edge) -> None:
    await edge.apply(POLICY)
    assert (await edge.ask("shop.example.com", "/secret/one")).status == 403
    assert (await edge.ask("shop.example.com", "/SECRET")).status == 200
    assert (await edge.ask("one.example.com", "/secret", edge.client())).status == 403
    # A rule about paths denies bytes that have none.
    assert (await traffic.exchange((EDGE, edge.ports[2]), b"\x00hello")).status == 0
    await edge.apply()
    assert (await edge.ask("shop.example.com", "/secret/one")).status == 200


async def test_claims_of_a_token_choose_the_route(edge: Edge) -> None:
    key, stranger = keys.generate(), keys.generate()
    await edge.apply(CLAIMS.replace("KEYS", jwk.document(key.public_key()).decode()))

    async def status(signer: ec.EllipticCurvePrivateKey, group: str) -> int:
        claims = {"iss": "https://issuer.example", "exp": 4_000_000_000, "group": group}
        shown = f"Bearer {tokens.sign(claims, signer)}"
        return (await edge.ask("claims.example.com", authorization=shown)).status

    assert await status(key, "staff") == 418
    assert await status(key, "customers") == 200
    assert await status(stranger, "staff") == 401
    assert (await edge.ask("claims.example.com")).status == 200
