"""An injected pod in a namespace: what injection wrote, used as it is, around real programs.

The init container's flags lay the rules, the proxy's variables start agent and Envoy, and Envoy
gets what the control plane makes of the manifests. Only addresses of this machine are put in.
"""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from libs.xds.types import Snapshot
from services.ctl.render import generated
from tests.support import agent as agents
from tests.support import pods as injection
from tests.support.agent import Agent, Mesh
from tests.support.netns import Pod

Manifest = dict[str, Any]
_SECONDS = 60

STRICT: Manifest = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "shop"},
    "spec": {"mtls": {"mode": "STRICT"}},
}
"""Nobody reaches a pod of `shop` without mutual TLS."""


class MeshedPod(Struct, frozen=True):
    """A pod before injection, its addresses with the main one first, and what else there is."""

    given: Manifest
    addresses: tuple[str, ...]
    others: tuple[Manifest, ...] = ()


def service(
    name: str, *ports: int, addresses: Sequence[str] = (), protocol: str = "http"
) -> Manifest:
    """Return a Service for the pods labelled `app: <name>`."""
    spec: Manifest = {
        "selector": {"app": name},
        "ports": [{"name": f"{protocol}-{port}", "port": port} for port in ports],
    }
    if addresses:
        families = ["IPv6" if ":" in address else "IPv4" for address in addresses]
        spec |= {
            "clusterIP": addresses[0],
            "clusterIPs": list(addresses),
            "ipFamilies": families,
            "ipFamilyPolicy": "RequireDualStack" if len(families) > 1 else "SingleStack",
        }
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


@asynccontextmanager
async def running(pod: Pod, folder: Path, wanted: MeshedPod) -> AsyncIterator[Agent]:
    """Run the pod `web-1` of namespace `shop` in a mesh of its own."""
    async with (
        agents.mesh(folder, Snapshot({}), host=pod.host) as mesh,
        joined(mesh, pod, wanted) as agent,
    ):
        yield agent


@asynccontextmanager
async def joined(mesh: Mesh, pod: Pod, wanted: MeshedPod) -> AsyncIterator[Agent]:
    """Inject and run the pod `web-1` of namespace `shop`; yields its agent when it is ready."""
    made = injection.result(wanted.given)
    rules, proxy = made["spec"]["initContainers"]
    pod.lay(*rules["args"][1:])
    written = {one["name"]: one["value"] for one in proxy["env"] if "value" in one}
    prefix = "ISTIO_META_"
    metadata = {
        name.removeprefix(prefix): value
        for name, value in written.items()
        if name.startswith(prefix)
    }
    manifests = "\n---\n".join(map(json.dumps, [placed(made, wanted.addresses), *wanted.others]))
    snapshot = generated({"in.yaml": manifests}, "web-1.shop", metadata).snapshot
    mesh.plane.serve(snapshot)
    main = wanted.addresses[0]
    config = json.loads(written["PROXY_CONFIG"])
    config |= {"discoveryAddress": f"{mesh.host}:{mesh.port}", "concurrency": 1}
    config["terminationDrainDuration"] = "0s"
    elsewhere = {
        "CA_ADDR": mesh.ca_address,
        "PROXY_CONFIG": json.dumps(config),
        "INSTANCE_IP": main,
        "SEINE_LISTEN_ADDRESS": "",  # the default of a pod
        "SEINE_ADMIN_ADDRESS": "127.0.0.1",
    }
    async with agents.agent(
        mesh,
        address=f"[{main}]" if ":" in main else main,
        environ={**written, **elsewhere},
        prefix=pod.enter_as(proxy["securityContext"]["runAsUser"]),
    ) as agent:
        await agent.ready()
        yield agent


def placed(made: Manifest, addresses: Sequence[str], name: str = "web-1") -> Manifest:
    """Return a pod as it is in namespace `shop`: ready at addresses, the main one first."""
    return {
        **made,
        "metadata": {**made["metadata"], "name": name, "namespace": "shop"},
        "status": {
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


class Heard(Struct, frozen=True):
    """What an application said about the request that it got."""

    status: int
    peer: str = ""
    """Who connected to it."""
    request: str = ""
    """The head, as it arrived."""

    @property
    def by_envoy(self) -> bool:
        """Whether an Envoy handled the request on its way."""
        return "x-request-id:" in self.request.lower()


@asynccontextmanager
async def listening(sockets: Sequence[socket.socket]) -> AsyncIterator[None]:
    """Run an application on sockets that tells each client what it heard."""
    servers = []
    for one in sockets:
        one.settimeout(None)
        servers.append(await asyncio.start_server(_tell, sock=one))
    try:
        yield
    finally:
        for server in servers:
            server.close()


async def _tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        peer = writer.get_extra_info("peername")[0].removeprefix("::ffff:")
        body = json.dumps([peer, head]).encode()
        top = f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(top.encode() + body)
        await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def ask(
    client: socket.socket, host: str = "there", tls: ssl.SSLContext | None = None
) -> Heard:
    """Send one request; status 0 means that the connection was ended instead."""
    client.setblocking(False)
    try:
        async with asyncio.timeout(_SECONDS):
            answer = await _exchanged(client, host, tls)
    except (ConnectionError, ssl.SSLError):
        return Heard(0)
    head, _, body = answer.decode().partition("\r\n\r\n")
    if not head:
        return Heard(0)
    status = int(head.split()[1])
    return Heard(status, *json.loads(body)) if status == 200 else Heard(status)


async def _exchanged(client: socket.socket, host: str, tls: ssl.SSLContext | None) -> bytes:
    name = None if tls is None else ""  # whoever has the context judges the server
    reader, writer = await asyncio.open_connection(sock=client, ssl=tls, server_hostname=name)
    try:
        writer.write(f"GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n".encode())
        return await reader.read()
    finally:
        writer.close()
