"""A machine with a real agent and Envoy: called through the mesh, by name, while it is well.

The control plane runs here, on a real API server. Machine and client are agents with Envoys of
their own on loopback addresses; the client is a pod, the machine is none.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from libs.kube.client import Client
from tests.support import agent as agents
from tests.support import dns
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import KubeApps, kube_apps
from tests.support.kube_discovery import define

HOST = "db.vms.internal"
OUTBOUND_PORT, SERVICE_PORT = 15080, 8080
NETWORKING = "/apis/networking.istio.io/v1/namespaces/shop"
PATIENCE = 120


class Place:
    """What an agent needs to find the control plane, and its token."""

    def __init__(self, folder: Path, apps: KubeApps, token: str) -> None:
        folder.mkdir()
        self.folder = folder
        self.host = "127.0.0.1"
        self.port = apps.push.xds
        self.ca_address = f"127.0.0.1:{apps.ca.bound.token}"
        self.root_file = folder.parent / "roots.pem"
        self._token = token

    def token(self, account: str, namespace: str) -> str:
        del account, namespace
        return self._token


class Caller(NamedTuple):
    """A client's agent, and where its Envoy takes calls."""

    agent: agents.Agent
    outbound: str


class Application:
    """An application that is well, or not."""

    def __init__(self) -> None:
        self.status = 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            status = self.status if head.startswith(b"GET /up") else 200
            writer.write(
                b"HTTP/1.1 %d X\r\ncontent-length: 2\r\nconnection: close\r\n\r\nvm" % status
            )
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="apps")
async def control_plane(server: ApiServer, tmp_path: Path) -> AsyncIterator[KubeApps]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client)
        await kube.account(client, "shop", "vm")
        own = {"machines_grace_seconds": 1.0}
        async with kube_apps(tmp_path, server, client, of_discovery=own) as apps:
            await _configure(client)
            yield apps


async def _configure(client: Client) -> None:
    template = {"serviceAccount": "vm", "labels": {"app": "db"}}
    probe = {"httpGet": {"port": SERVICE_PORT, "path": "/up"}, "periodSeconds": 1}
    entry = {
        "hosts": [HOST],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": SERVICE_PORT, "name": "http", "protocol": "HTTP"}],
        "workloadSelector": {"labels": {"app": "db"}},
    }
    for kind, plural, name, spec in (
        ("WorkloadGroup", "workloadgroups", "vm", {"template": template, "probe": probe}),
        ("ServiceEntry", "serviceentries", "db", entry),
        ("PeerAuthentication", "peerauthentications", "default", {"mtls": {"mode": "STRICT"}}),
    ):
        group = "security" if kind == "PeerAuthentication" else "networking"
        body = {
            "apiVersion": f"{group}.istio.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "spec": spec,
        }
        await kube.ensure(client, f"{NETWORKING.replace('networking', group, 1)}/{plural}", body)


def _environ(place: Place, address: str, outbound: str, **config: object) -> dict[str, str]:
    proxy_config = {
        "discoveryAddress": f"127.0.0.1:{place.port}",
        "terminationDrainDuration": "0s",
        "concurrency": 1,
        **config,
    }
    conf = place.folder / "resolv.conf"
    conf.write_text("search shop.svc.cluster.local\n")
    return {
        "PROXY_CONFIG": json.dumps(proxy_config),
        "ISTIO_META_INTERCEPTION_MODE": "NONE",
        "ISTIO_META_HTTP_PROXY_PORT": str(OUTBOUND_PORT),
        "ISTIO_META_SEINE_OUTBOUND_ADDRESS": outbound,
        "ISTIO_META_DNS_CAPTURE": "true",
        "DNS_PROXY_ADDR": f"{address}:15053",
        "SEINE_RESOLV_CONF": str(conf),
    }


@asynccontextmanager
async def _machine(apps: KubeApps, folder: Path, application: str) -> AsyncIterator[agents.Agent]:
    address = agents.loopback()
    token = await kube.token(apps.client, "shop", "vm")
    place = Place(folder, apps, token)
    group: Any = await apps.client.get(f"{NETWORKING}/workloadgroups/vm")
    environ = {
        **_environ(place, address, agents.loopback(), readinessProbe=group["spec"]["probe"]),
        "ISTIO_META_AUTO_REGISTER_GROUP": "vm",
        "ISTIO_META_SEINE_APPLICATION_ADDRESS": application,
    }
    async with agents.agent(
        place,  # type: ignore[arg-type]  # all that is used of a Mesh
        account="vm",
        address=address,
        environ=environ,
    ) as found:
        yield found


@asynccontextmanager
async def _client(apps: KubeApps, folder: Path) -> AsyncIterator[Caller]:
    address, outbound = agents.loopback(), agents.loopback()
    token = await kube.pod_token(apps.client, "shop", "caller-1", by="caller")
    place = Place(folder, apps, token)
    async with agents.agent(
        place,  # type: ignore[arg-type]  # all that is used of a Mesh
        account="caller",
        address=address,
        environ=_environ(place, address, outbound),
    ) as found:
        yield Caller(found, outbound)


async def _until_answered(client: Caller, status: int) -> str:
    """Call the machine by its service's name until that is the answer; return the body."""
    proxy = f"http://{client.outbound}:{OUTBOUND_PORT}"
    said: object = None
    try:
        async with asyncio.timeout(PATIENCE), aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"http://{HOST}:{SERVICE_PORT}/", proxy=proxy) as answer:
                        said = (answer.status, body := await answer.text())
                        if answer.status == status:
                            return body
                except aiohttp.ClientError as error:
                    said = error
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(
            f"{status} never came, but {said}\n{client.agent.log[-3000:]}"
        ) from None


async def _condition(client: Client, name: str, status: str) -> str:
    """Return the message of the condition Healthy once it has that status."""
    async with asyncio.timeout(PATIENCE):
        while True:
            found: Any = await client.get(f"{NETWORKING}/workloadentries")
            for one in found["items"]:
                for it in (one.get("status") or {}).get("conditions") or ():
                    told = (one["metadata"]["name"], it["type"], it["status"])
                    if told == (name, "Healthy", status):
                        return str(it.get("message", ""))
            await asyncio.sleep(0.1)


async def test_a_machine_is_called_while_it_is_well(apps: KubeApps, tmp_path: Path) -> None:
    application, own = Application(), agents.loopback()
    server = await asyncio.start_server(application.serve, own, SERVICE_PORT)
    try:
        async with _client(apps, tmp_path / "client") as client:
            await client.agent.ready()
            await _until_answered(client, 503)  # nobody is there
            async with _machine(apps, tmp_path / "machine", own) as machine:
                await machine.ready()
                name = f"vm-{machine.address}"
                assert await _condition(apps.client, name, "True") == ""
                assert await _until_answered(client, 200) == "vm"
                asked = dns.query(HOST)
                found = dns.read(await dns.by_udp((machine.address, 15053), asked))
                assert found.addresses
                application.status = 500
                assert "status 500" in await _condition(apps.client, name, "False")
                await _until_answered(client, 503)
                application.status = 200
                await _condition(apps.client, name, "True")
                assert await _until_answered(client, 200) == "vm"
            await _until_answered(client, 503)
            found_entries: Any = await apps.client.get(f"{NETWORKING}/workloadentries")
            async with asyncio.timeout(PATIENCE):
                while found_entries["items"]:
                    found_entries = await apps.client.get(f"{NETWORKING}/workloadentries")
                    await asyncio.sleep(0.1)
    finally:
        server.close()
