"""A real agent and its Envoy get users' certificates from somebody else's server beside them."""

import asyncio
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret
from envoy.service.discovery.v3 import discovery_pb2

from libs.xds.types import SECRET
from services.ctl.render import generated
from tests.support import agent as agents
from tests.support import traffic
from tests.support.certificates import Certificate, TestAuthority, client_context
from tests.support.ports import free_ports

MANIFESTS = """
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: public, namespace: shop}}
spec:
  selector: {{app: gw}}
  servers:
  - port: {{number: {port}, name: found, protocol: HTTPS}}
    bind: {address}
    hosts: [found.example.com]
    tls: {{mode: SIMPLE, credentialName: "sds://found"}}
  - port: {{number: {port}, name: missing, protocol: HTTPS}}
    bind: {address}
    hosts: [missing.example.com]
    tls: {{mode: SIMPLE, credentialName: "sds://missing"}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: shop}}
spec:
  hosts: ["*.example.com"]
  gateways: [public]
  http: [{{directResponse: {{status: 207}}}}]
---
apiVersion: v1
kind: Pod
metadata:
  name: gw
  namespace: shop
  labels: {{app: gw}}
  annotations: {{inject.istio.io/templates: gateway}}
spec: {{serviceAccountName: gw, containers: [{{name: istio-proxy}}]}}
status:
  phase: Running
  podIP: {address}
  podIPs: [{{ip: {address}}}]
  conditions: [{{type: Ready, status: "True"}}]
"""


class Beside:
    """Somebody's SDS server: what it was asked for, by node, and what it has."""

    def __init__(self, held: Mapping[str, Certificate]) -> None:
        self.asked: set[str] = set()
        self._held = held

    async def stream(self, requests: AsyncIterator[bytes], _: object) -> AsyncIterator[bytes]:
        """Answer each first request for names that there are; it never has the others."""
        try:
            async for body in requests:
                request = discovery_pb2.DiscoveryRequest.FromString(body)
                self.asked.update(request.resource_names)
                found = [name for name in request.resource_names if name in self._held]
                if found and not request.response_nonce:
                    yield self._answer(found)
        except asyncio.CancelledError:
            return  # Envoy has gone

    def _answer(self, names: list[str]) -> bytes:
        answer = discovery_pb2.DiscoveryResponse(version_info="1", nonce="1", type_url=SECRET)
        for name in names:
            secret = Secret(name=name)
            secret.tls_certificate.certificate_chain.inline_bytes = self._held[name].chain
            secret.tls_certificate.private_key.inline_bytes = self._held[name].key
            answer.resources.add().Pack(secret)
        return answer.SerializeToString()


@asynccontextmanager
async def beside(pod: Path, held: Mapping[str, Certificate]) -> AsyncIterator[Beside]:
    """Serve credentials where the agent in the folder `pod` looks for a server."""
    found = Beside(held)
    handler = grpc.stream_stream_rpc_method_handler(found.stream)
    service = "envoy.service.secret.v3.SecretDiscoveryService"
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"StreamSecrets": handler}),)
    )
    with tempfile.TemporaryDirectory() as folder:  # names of sockets must be short
        (pod / "var/run/secrets").mkdir(parents=True)
        (pod / "var/run/secrets/credential-uds").symlink_to(folder)
        server.add_insecure_port(f"unix:{folder}/socket")
        await server.start()
        try:
            yield found
        finally:
            await server.stop(None)


async def _answering(address: tuple[str, int]) -> traffic.Answer:
    """Ask until there is an answer: Envoy waits 15 s for the name that nobody has."""
    async with asyncio.timeout(90):
        while True:
            answer = await traffic.http(
                address,
                tls=client_context(None, Path()),
                server_name="found.example.com",
                headers={"host": "found.example.com"},
            )
            if answer.status:
                return answer
            await asyncio.sleep(0.1)


async def test_credentials_of_a_server_beside_the_gateway(tmp_path: Path) -> None:
    address = agents.loopback()
    (port,) = free_ports(1, address)
    certificate = TestAuthority("beside").issue("found", dns_names=("found.example.com",))
    text = MANIFESTS.format(address=address, port=port)
    rendered = generated({"in.yaml": text}, "gw.shop", {"credential": "true"})
    async with (
        beside(tmp_path / f"pod-{address}", {"sds://found": certificate}) as server,
        agents.mesh(tmp_path, rendered.snapshot) as plane,
        agents.agent(plane, address=address, account="gw") as agent,
    ):
        await agent.ready()
        answer = await _answering((address, port))
        assert plane.plane.refused == []
    assert answer.status == 207
    leaf = certificate.chain.split(b"-----END CERTIFICATE-----")[0] + b"-----END CERTIFICATE-----\n"
    assert answer.peer == ssl.PEM_cert_to_DER_cert(leaf.decode())
    assert server.asked == {"sds://found", "sds://missing"}


async def test_without_such_a_server_its_cluster_is_not_there(tmp_path: Path) -> None:
    address = agents.loopback()
    rendered = generated({"in.yaml": MANIFESTS.format(address=address, port=8443)}, "gw.shop", {})
    async with (
        agents.mesh(tmp_path, rendered.snapshot) as plane,
        agents.agent(plane, address=address, account="gw") as agent,
    ):
        await agent.until(15000, "/clusters", 200)
        _, clusters = await agent.get(15000, "/clusters")
        assert "sds-grpc::" in clusters
        assert "sds-external::" not in clusters
        _, bootstrap = await agent.get(15000, "/config_dump?resource=bootstrap")
        assert '"credential"' not in bootstrap
