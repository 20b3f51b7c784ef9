"""A kubelet of a node of a test's API server: it has no containers, only ports of this process.

It ends `v4.channel.k8s.io` as kubelets do: port forwarding by a stream for data and one for errors,
either beginning with the port's number, and commands by one stream each for what they write and how
they end. tests/e2e asks real kubelets the same.
"""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from libs.kube.client import Client
from libs.runtime.tasks import background
from tests.support import kube_accounts as kube
from tests.support.certificates import TestAuthority

PROTOCOL = "v4.channel.k8s.io"
NODE = "node-1"
_MERGE = "application/merge-patch+json"


class Kubelet:
    """Knows which port of a pod is which port of this machine, and what commands do."""

    def __init__(self) -> None:
        self.ports: dict[tuple[str, int], int] = {}
        """(pod, its port) to a port of loopback; nobody listens at others."""
        self.commands: dict[str, tuple[bytes, bytes, int]] = {}
        """What a command writes to stdout and stderr, and its exit status."""
        self.asked: list[str] = []
        """Containers in which commands were run."""
        self.silent: set[str] = set()
        """Pods whose connections are taken and never answered."""

    def routes(self) -> list[web.RouteDef]:
        """Return what the API server asks a kubelet."""
        return [
            web.get("/portForward/{namespace}/{pod}", self._forward),
            web.get("/exec/{namespace}/{pod}/{container}", self._run),
        ]

    async def _forward(self, request: web.Request) -> web.WebSocketResponse:
        _check(request)
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        number, pod = int(request.query["port"]), request.match_info["pod"]
        for channel in (0, 1):
            await socket.send_bytes(bytes((channel,)) + number.to_bytes(2, "little"))
        try:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self.ports.get((pod, number), 1)
            )
        except OSError as error:
            text = f"error forwarding port {number} to pod {pod}: {error.strerror}"
            await socket.send_bytes(b"\x01" + text.encode())
        else:
            async with background(_to_port(socket, writer, heard=pod not in self.silent)):
                await _from_port(reader, socket)
        await socket.close()
        return socket

    async def _run(self, request: web.Request) -> web.WebSocketResponse:
        _check(request)
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        self.asked.append(request.match_info["container"])
        words = " ".join(request.query.getall("command"))
        if words not in self.commands:
            await _end(socket, {"status": "Failure", "message": f"no {words} in the container"})
            return socket
        out, err, code = self.commands[words]
        await socket.send_bytes(b"\x01" + out)
        await socket.send_bytes(b"\x02" + err)
        cause = {"reason": "ExitCode", "message": str(code)}
        failed = {"status": "Failure", "reason": "NonZeroExitCode", "details": {"causes": [cause]}}
        await _end(socket, failed if code else {"status": "Success"})
        return socket


def _check(request: web.Request) -> None:
    """Refuse as real ones do, whose paths promise no type: who does not take any is sent away."""
    if "*/*" not in request.headers.get("Accept", "*/*"):
        raise web.HTTPNotAcceptable


async def _end(socket: web.WebSocketResponse, status: Mapping[str, Any]) -> None:
    await socket.send_bytes(b"\x03" + json.dumps(status).encode())
    await socket.close()


async def _to_port(
    socket: web.WebSocketResponse, writer: asyncio.StreamWriter, *, heard: bool
) -> None:
    try:
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[0] == 0 and heard:
                writer.write(message.data[1:])
                await writer.drain()
    except OSError:
        pass  # whoever listens there has gone; the reading side says so
    finally:
        writer.close()


async def _from_port(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    while data := await reader.read(32 * 1024):
        await socket.send_bytes(b"\x00" + data)


@asynccontextmanager
async def kubelet(client: Client, folder: Path, *, node: str = NODE) -> AsyncIterator[Kubelet]:
    """Run a kubelet, and have a node say that it is there."""
    found = Kubelet()
    application = web.Application()
    application.add_routes(found.routes())
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=_context(folder)).start()
        await _announce(client, node, int(runner.addresses[0][1]))
        yield found
    finally:
        await runner.cleanup()


def _context(folder: Path) -> ssl.SSLContext:
    made = TestAuthority("kubelet").issue("kubelet", dns_names=("node-1",))
    path = folder / "kubelet.pem"
    path.write_bytes(made.chain + made.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


async def _announce(client: Client, node: str, port: int) -> None:
    await kube.node(client, node)
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    path = f"/api/v1/nodes/{node}/status"
    await client.request("PATCH", path, body={"status": status}, content_type=_MERGE)
