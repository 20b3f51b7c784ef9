"""gRPC's own xDS server, with the generators of config-push and a mesh from manifests.

Its callers are ordinary: over TLS with a certificate of the mesh or of another, or in clear text.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from libs.model.ids import SpiffeId
from services.ctl.render import build
from tests.support.certificates import Certificate, TestAuthority
from tests.support.grpc_xds import calling, serving
from tests.support.ports import free_ports
from tests.support.push_plane import RunningPlane, identity, running_plane

WHO = "/test.Echo/Who"
ADMIN = "/test.Admin/Stop"
MANIFESTS = """
apiVersion: v1
kind: Service
metadata: {name: greeter, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  selector: {app: greeter}
  ports: [{name: grpc, port: 80, targetPort: %(port)s}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: greeter, namespace: shop, labels: {kubernetes.io/service-name: greeter}}
addressType: IPv4
ports: [{name: grpc, port: %(port)s}]
endpoints:
  - addresses: [127.0.0.1]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: greeter, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: greeter, namespace: shop, labels: {app: greeter%(label)s}}
spec: {serviceAccountName: greeter, containers: [{name: app}]}
status:
  phase: Running
  podIP: 127.0.0.1
  podIPs: [{ip: 127.0.0.1}]
  conditions: [{type: Ready, status: "True"}]
"""
LABEL = ", security.istio.io/tlsMode: istio"
MODE = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: %s}}
"""
STRICT = MODE % "STRICT"
ACCESS = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %(name)s, namespace: shop}
spec: {selector: {matchLabels: {app: greeter}}, action: %(action)s, rules: %(rules)s}
"""
PERMISSION_DENIED = "PERMISSION_DENIED"
CUT = {"UNAVAILABLE", "DEADLINE_EXCEEDED"}
"""What a client says whose connection is not accepted."""


def access(name: str, action: str, rules: str) -> str:
    return ACCESS % {"name": name, "action": action, "rules": rules}


class Greeter:
    """A program that serves as we say, and callers."""

    def __init__(self, running: RunningPlane, folder: Path, port: int) -> None:
        self.authority = TestAuthority()
        self.running = running
        self.folder = folder
        self._port = port

    async def apply(self, *further: str, label: str = LABEL) -> None:
        """Serve the manifests and wait until the program, if it is there, has taken them over."""
        text = MANIFESTS % {"port": self._port, "label": label}
        mesh, problems = build({"shop.yaml": text + "".join(further)})
        assert [problem for problem in problems if problem.severity == "error"] == []
        change = self.running.change(mesh, "Service/shop/greeter")
        receipt = await self.running.receipt(change.change)
        assert not receipt.rejected, receipt.rejections

    def own(self) -> Certificate:
        return self.authority.issue("greeter", dns_names=("greeter",))

    def of(self, account: str, trust_domain: str = "cluster.local") -> Certificate:
        return self.authority.issue(account, trust_domain=trust_domain)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def call(self, proving: Certificate | None, method: str = WHO, **metadata: str) -> str:
        """Return the answer, or the status of a refusal."""
        async with self._channel(proving) as channel:
            ask: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            try:
                answer = await ask(b"", metadata=tuple(metadata.items()), timeout=20)
            except grpc.aio.AioRpcError as error:
                return error.code().name
            return answer.decode()

    async def until(self, expected: str, proving: Certificate | None, method: str = WHO) -> None:
        """Call until the answer begins so: a server accepts a listener before it follows it."""
        async with asyncio.timeout(60):
            while not (await self.call(proving, method)).startswith(expected):
                pass

    def _channel(self, proving: Certificate | None) -> grpc.aio.Channel:
        if proving is None:
            return grpc.aio.insecure_channel(self.address)
        mutual = grpc.ssl_channel_credentials(proving.roots, proving.key, proving.chain)
        options = [("grpc.ssl_target_name_override", "greeter")]
        return grpc.aio.secure_channel(self.address, mutual, options)


async def authenticate(_context: object) -> SpiffeId:
    return identity(account="greeter")


@pytest_asyncio.fixture
async def greeter(tmp_path: Path) -> AsyncIterator[Greeter]:
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            running_plane(tmp_path, authenticate=authenticate)
        )
        made = Greeter(running, tmp_path, free_ports(1)[0])
        program = serving(tmp_path, running.address, made.address, made.own())
        await stack.enter_async_context(program)
        yield made


@pytest.mark.parametrize(
    ("mode", "label", "mutual"),
    [
        ("STRICT", LABEL, True),
        ("PERMISSIVE", LABEL, True),
        ("PERMISSIVE", "", False),
        ("DISABLE", LABEL, False),
    ],
)
async def test_what_a_server_lets_in(greeter: Greeter, mode: str, label: str, mutual: bool) -> None:
    await greeter.apply(MODE % mode, label=label)
    alice = greeter.of("alice")
    spoken, other = (alice, None) if mutual else (None, alice)
    await greeter.until(WHO, spoken)
    assert await greeter.call(other) in CUT
    if mutual:
        assert "spiffe://cluster.local/ns/shop/sa/alice" in await greeter.call(alice)


async def test_a_certificate_of_another_mesh_is_refused(greeter: Greeter) -> None:
    await greeter.apply(STRICT)
    await greeter.until(WHO, greeter.of("alice"))
    stranger = TestAuthority().issue("alice")
    mixed = Certificate(stranger.chain, stranger.key, greeter.own().roots)
    assert await greeter.call(mixed) in CUT
    assert await greeter.call(greeter.of("alice", "elsewhere.example")) == PERMISSION_DENIED


async def test_policies_hold_and_change(greeter: Greeter) -> None:
    alice, bob = greeter.of("alice"), greeter.of("bob")
    await greeter.apply(STRICT)
    await greeter.until(WHO, bob)
    of_alice = "[{from: [{source: {principals: [cluster.local/ns/shop/sa/alice]}}]}]"
    await greeter.apply(STRICT, access("allow", "ALLOW", of_alice))
    await greeter.until(PERMISSION_DENIED, bob)
    await greeter.until(WHO, alice)
    paths = "[{to: [{operation: {paths: [/test.Admin/*]}}]}]"
    await greeter.apply(STRICT, access("allow", "ALLOW", of_alice), access("deny", "DENY", paths))
    await greeter.until(PERMISSION_DENIED, alice, ADMIN)
    assert (await greeter.call(alice)).startswith(WHO)
    assert await greeter.call(bob) == PERMISSION_DENIED
    await greeter.apply(STRICT)
    await greeter.until(ADMIN, bob, ADMIN)


@pytest.mark.parametrize(
    ("action", "rules", "alice"),
    [
        ("DENY", "[{when: [{key: 'request.headers[x-key]', values: [bad]}]}]", WHO),
        ("ALLOW", "[{to: [{operation: {hosts: ['*.com', greeter]}}]}]", WHO),
        ("ALLOW", "[{from: [{source: {namespaces: [shop]}}]}]", WHO),
        ("ALLOW", "[{from: [{source: {namespaces: [other]}}]}]", PERMISSION_DENIED),
        ("ALLOW", "[{from: [{source: {serviceAccounts: [alice]}}]}]", WHO),
        ("ALLOW", "[{from: [{source: {ipBlocks: [127.0.0.0/8]}}]}]", WHO),
        ("ALLOW", "[{from: [{source: {notRemoteIpBlocks: [127.0.0.0/8]}}]}]", PERMISSION_DENIED),
        ("ALLOW", "[{to: [{operation: {methods: [POST], ports: ['1']}}]}]", PERMISSION_DENIED),
        ("ALLOW", "[]", PERMISSION_DENIED),
        # What gRPC cannot test: who allows by it lets nobody in, who denies by it denies more.
        ("ALLOW", "[{from: [{source: {requestPrincipals: ['*']}}]}]", PERMISSION_DENIED),
        ("DENY", "[{from: [{source: {requestPrincipals: ['*']}}]}]", PERMISSION_DENIED),
        ("DENY", "[{to: [{operation: {paths: ['/a/{*}', '/b']}}]}]", PERMISSION_DENIED),
        ("ALLOW", "[{to: [{operation: {paths: ['/test.Echo/{*}']}}]}]", PERMISSION_DENIED),
        ("DENY", "[{when: [{key: 'request.headers[grpc-x]', values: [a]}]}]", PERMISSION_DENIED),
        ("AUDIT", "[{}]", WHO),
    ],
)
async def test_what_rules_come_to(greeter: Greeter, action: str, rules: str, alice: str) -> None:
    await greeter.apply(STRICT, access("policy", action, rules))
    await greeter.until(alice, greeter.of("alice"))


async def test_a_header_decides(greeter: Greeter) -> None:
    rules = "[{when: [{key: 'request.headers[x-key]', values: ['bad*']}]}]"
    await greeter.apply(STRICT, access("policy", "DENY", rules))
    alice = greeter.of("alice")
    await greeter.until(WHO, alice)
    assert await greeter.call(alice, **{"x-key": "bad-1"}) == PERMISSION_DENIED


async def test_both_ends_speak_xds(greeter: Greeter) -> None:
    rule = """
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: greeter, namespace: shop}
spec: {host: greeter, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
"""
    await greeter.apply(STRICT, rule)
    client = greeter.of("alice")
    address = greeter.running.address
    async with calling(greeter.folder, address, "greeter.shop:80", client) as caller:
        assert "sa/alice" in await caller.call()
