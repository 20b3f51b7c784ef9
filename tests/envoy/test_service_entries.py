"""Where a real Envoy finds what ServiceEntries declare: names on this machine, and Unix sockets.

What needs no name that resolves to this machine stands in `behaviour/entries.yaml`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import Struct

from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import Snapshot
from tests.support import mesh, traffic
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, running
from tests.support.ports import free_ports
from tests.support.resources import mesh_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTBOUND, APPLICATION = "127.68.0.1", "127.0.0.1"


class Client(Struct, frozen=True):
    """A client's Envoy, the ports on which it is asked, and where applications are."""

    envoy: Envoy
    folder: Path
    http: int
    application: int

    async def apply(self, *manifests: str) -> None:
        """Have Envoy follow these manifests."""
        await self.envoy.serve(snapshot(*manifests))
        assert await self.envoy.complaints() == []

    async def ask(self, host: str) -> int:
        """Return the status of a request for `host`."""
        return (await traffic.http((OUTBOUND, self.http), headers={"host": host})).status


def snapshot(*manifests: str) -> Snapshot:
    client = mesh.proxy(interception=Interception.NONE, outbound_address=OUTBOUND)
    return generate.snapshot(Scoper().scope(mesh_of("\n---\n".join(manifests)), client))


def entry(name: str, spec: str) -> str:
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: shop}}
spec: {spec}
"""


@asynccontextmanager
async def listening(path: Path) -> AsyncIterator[None]:
    """Answer every request at a Unix socket with 200."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(path))
    try:
        yield
    finally:
        server.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder: Path = tmp_path_factory.mktemp("envoy")
    ports = tuple(free_ports(2))
    certificate = TestAuthority().issue("client")
    async with (
        traffic.application(APPLICATION, ports[1]),
        listening(folder / "app.sock"),
        running(snapshot(), certificate, folder) as envoy,
    ):
        yield Client(envoy, folder, *ports)


def http(client: Client, rest: str) -> str:
    return f"{{ports: [{{number: {client.http}, name: http, protocol: HTTP}}], {rest}}}"


def here(client: Client) -> str:
    return f"endpoints: [{{address: {APPLICATION}, ports: {{http: {client.application}}}}}]"


@pytest.mark.parametrize("resolution", ["DNS", "DNS_ROUND_ROBIN"])
async def test_names_are_resolved(client: Client, resolution: str) -> None:
    where = f"endpoints: [{{address: localhost, ports: {{http: {client.application}}}}}]"
    spec = f"hosts: [api.example.com], resolution: {resolution}, {where}"
    await client.apply(entry("e", http(client, spec)))
    assert await client.ask("api.example.com") == 200
    assert await client.ask("other.example.com") == 502


async def test_a_wildcards_hosts_are_resolved_when_they_are_asked_for(client: Client) -> None:
    await client.apply(entry("e", http(client, "hosts: ['*.localhost'], resolution: DYNAMIC_DNS")))
    assert await client.ask(f"app.localhost:{client.application}") == 200
    assert await client.ask("app.elsewhere.example.com") == 502


MESH = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "outboundTrafficPolicy: {mode: %s}"}
"""


@pytest.mark.parametrize(("mode", "status"), [("ALLOW_ANY_DYNAMIC_DNS", 200), ("ALLOW_ANY", 502)])
async def test_hosts_that_nobody_declared(client: Client, mode: str, status: int) -> None:
    known = entry("e", http(client, f"hosts: [a.example.com], resolution: STATIC, {here(client)}"))
    await client.apply(known, MESH % mode)
    assert await client.ask("a.example.com") == 200
    assert await client.ask(f"app.localhost:{client.application}") == status


async def test_a_unix_socket(client: Client) -> None:
    where = f"endpoints: [{{address: 'unix://{client.folder}/app.sock'}}]"
    spec = f"hosts: [socket.example.com], resolution: STATIC, {where}"
    await client.apply(entry("e", http(client, spec)))
    assert await client.ask("socket.example.com") == 200
