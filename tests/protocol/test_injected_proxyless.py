"""Two gRPC programs without proxies, started with what injection wrote into their pods.

The agents, the CA and config-push are ours and real; the programs are gRPC's own xDS client and
server. Paths of the containers are put under a folder of each pod.
"""

import base64
import json
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.rpc import server
from libs.rpc.peer import Context
from libs.rpc.server import Port
from libs.runtime.clock import SystemClock
from libs.xds.types import Snapshot
from services.config_push.ads import AdsService
from services.ctl.render import build
from tests.support import agent as agents
from tests.support.agent import Agent, Mesh
from tests.support.grpc_xds import calling_by, serving_by
from tests.support.pods import pod, proxy, result, variables
from tests.support.push_plane import LIMITS, RunningPlane, identity, running_plane

PORT = 9443
GRPC = {"inject.istio.io/templates": "grpc-agent"}
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
  - addresses: [%(address)s]
    conditions: {ready: true}
    targetRef: {kind: Pod, name: greeter-1, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata:
  name: greeter-1
  namespace: shop
  labels: {app: greeter, security.istio.io/tlsMode: istio}
spec: {serviceAccountName: greeter, containers: [{name: app}]}
status:
  phase: Running
  podIP: %(address)s
  podIPs: [{ip: %(address)s}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: greeter, namespace: shop}
spec: {host: greeter, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}
"""


async def authenticate(context: Context) -> SpiffeId:
    """Believe what a token says; which tokens are good is tested elsewhere."""
    shown = str(dict(context.invocation_metadata() or ()).get("authorization", ""))
    claims = shown.removeprefix("Bearer ").split(".")[1]
    said = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return identity(account=said["sub"].rpartition(":")[2])


class Pod(Struct):
    """An injected pod whose agent runs."""

    agent: Agent
    bootstrap: Path
    certificates: Path


def _under(folder: Path, path: str) -> str:
    return str(folder / path.lstrip("/")) if path.startswith(("/etc/istio", "/var/lib")) else path


@asynccontextmanager
async def injected_pod(mesh: Mesh, account: str) -> AsyncIterator[Pod]:
    """Inject a pod, and run its agent with the environment that injection gave it."""
    config = f'{{"discoveryAddress": "{mesh.host}:{mesh.port}"}}'
    made = result(pod(annotations={**GRPC, "proxy.istio.io/config": config}))
    address = agents.loopback()
    folder = mesh.folder / f"pod-{address}"
    written = [one for one in proxy(made)["env"] if "value" in one]  # the rest is of the pod
    environ = {one["name"]: _under(folder, one["value"]) for one in written}
    environ["CA_ADDR"] = mesh.ca_address
    program = variables(made["spec"]["containers"][0])
    async with agents.agent(mesh, account=account, environ=environ, address=address) as running:
        await running.until(15020, "/healthz/ready", 200)
        yield Pod(
            running,
            Path(_under(folder, program["GRPC_XDS_BOOTSTRAP"])),
            Path(environ["OUTPUT_CERTS"]),
        )


@asynccontextmanager
async def control_plane(folder: Path) -> AsyncIterator[tuple[Mesh, RunningPlane]]:
    """Run a CA, and config-push over TLS."""
    async with (
        agents.mesh(folder, Snapshot({})) as mesh,
        running_plane(folder, authenticate=authenticate) as running,
    ):
        await mesh.stop_xds()
        ads = AdsService(running.plane, authenticate, limits=LIMITS, clock=SystemClock())
        port = Port(f"{mesh.host}:{mesh.port}", mesh.credentials)
        async with server.running([ads.register], port):
            yield mesh, running


def _modes(folder: Path) -> Mapping[str, Any]:
    names = ("cert-chain.pem", "key.pem", "root-cert.pem")
    return {name: stat.S_IMODE((folder / name).stat().st_mode) for name in names}


async def test_mutual_tls(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        mesh, running = await stack.enter_async_context(control_plane(tmp_path))
        greeter = await stack.enter_async_context(injected_pod(mesh, "greeter"))
        client = await stack.enter_async_context(injected_pod(mesh, "client"))
        manifests = MANIFESTS % {"port": PORT, "address": greeter.agent.address}
        found, problems = build({"shop.yaml": manifests})
        assert not problems
        running.change(found, "EndpointSlice/shop/greeter")
        await stack.enter_async_context(
            serving_by(greeter.bootstrap, f"{greeter.agent.address}:{PORT}")
        )
        caller = await stack.enter_async_context(
            calling_by(client.bootstrap, "greeter.shop:80", mutual=True)
        )
        await caller.until("/test.Echo/Who spiffe://cluster.local/ns/shop/sa/client")
        assert _modes(client.certificates) == dict.fromkeys(_modes(client.certificates), 0o640)
        assert greeter.agent.envoy() == 0
