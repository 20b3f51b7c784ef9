"""The agent beside a real Envoy: certificates, xDS, readiness, metrics, drain, crashes."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from libs.runtime.clock import SystemClock
from libs.xds.types import Snapshot
from tests.support import agent as agents
from tests.support.agent import Agent, Mesh
from tests.support.envoy_json import WORKLOAD_TLS, http_chain, snapshot

PORT = 9443
SECONDS = 60
RENEWED_OFTEN = {"SECRET_TTL": "60s", "SECRET_GRACE_PERIOD_RATIO": "0.95"}
"""A certificate every three seconds, each of which is good for long."""


def cluster(address: str, port: int) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": address, "port_value": port}}}
    return {
        "name": "application",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "application",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }


def listener(address: str, *, header: str) -> dict[str, Any]:
    """Return an HTTPS listener with the workload's certificate."""
    chain = http_chain("application", {"x-config": header})
    return {
        "name": "inbound",
        "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": address, "port_value": PORT}},
        "filter_chains": [{**chain, "transport_socket": WORKLOAD_TLS}],
    }


EMPTY = snapshot([], [])


class Place:
    """A pod: its address, its application, its configuration."""

    def __init__(self) -> None:
        self.address = agents.loopback()
        self.application = agents.loopback()
        self.slow_arrived = asyncio.Event()
        self.release = asyncio.Event()

    def config(self, header: str = "one") -> Snapshot:
        return snapshot([cluster(self.application, 8080)], [listener(self.address, header=header)])


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if head.startswith(b"GET /slow"):
                    found.slow_arrived.set()
                    await found.release.wait()
                if head.startswith(b"GET /metrics"):
                    body = b"# TYPE app_orders counter\napp_orders 7\n# EOF\n"
                else:
                    body = b"hello"
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, found.application, 8080)
    try:
        yield found
    finally:
        found.release.set()
        server.close()


class Client:
    """One TLS connection to the workload."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def certificate(self) -> x509.Certificate:
        der = self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(der)

    async def send(self, path: str = "/") -> None:
        self._writer.write(f"GET {path} HTTP/1.1\r\nhost: web\r\n\r\n".encode())
        await self._writer.drain()

    async def answer(self) -> str:
        """Return the head of the answer, its body read away."""
        head = (await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), SECONDS)).decode()
        await self._reader.readexactly(len(b"hello"))
        return head

    async def get(self, path: str = "/") -> str:
        await self.send(path)
        return await self.answer()

    def close(self) -> None:
        self._writer.close()


async def connect(address: str, root_file: Path) -> Client:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(root_file)
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return Client(*await asyncio.open_connection(address, PORT, ssl=context))
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)


def uri(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


async def test_the_workloads_certificate_is_on_the_wire(tmp_path: Path, place: Place) -> None:
    async with (
        agents.mesh(tmp_path, place.config()) as mesh,
        agents.agent(mesh, address=place.address) as agent,
    ):
        await agent.ready()
        client = await connect(place.address, mesh.root_file)
        assert uri(client.certificate) == ["spiffe://cluster.local/ns/shop/sa/web"]
        assert "x-config: one" in await client.get()
        client.close()
        assert mesh.tokens_seen[0] == f"Bearer {mesh_token(agent)}"
        rejected = await agent.stats("update_rejected")
        assert not any(rejected.values())


def mesh_token(agent: Agent) -> str:
    return (agent.folder / "var/run/secrets/tokens/istio-token").read_text()


async def test_rotation_drops_no_connection(tmp_path: Path, place: Place) -> None:
    async with (
        agents.mesh(tmp_path, place.config()) as mesh,
        agents.agent(mesh, address=place.address, environ=RENEWED_OFTEN) as agent,
    ):
        await agent.ready()
        old = await connect(place.address, mesh.root_file)
        first = old.certificate
        await agent.until_log("certificate obtained", times=3)
        new = await connect(place.address, mesh.root_file)
        while new.certificate.serial_number == first.serial_number:
            new.close()
            new = await connect(place.address, mesh.root_file)
        assert new.certificate.public_key() != first.public_key()
        assert "200 OK" in await old.get()
        assert "200 OK" in await new.get()
        old.close()
        new.close()


class Way:
    """The way to the CA, which can be closed."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._server: asyncio.Server | None = None
        self._port = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = self._to.rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        async with asyncio.TaskGroup() as group:
            group.create_task(_copy(reader, back))
            group.create_task(_copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


async def shows_a_valid_certificate(place: Place, mesh: Mesh) -> bool:
    try:
        client = await connect(place.address, mesh.root_file)
    except OSError:  # it is not good, or there is none: then Envoy hangs up
        return False
    client.close()
    return True


async def test_once_the_ca_is_back_an_expired_workload_serves_again(
    tmp_path: Path, place: Place
) -> None:
    """R18: the CA is away until certificates of 6 s have expired, and for ten seconds more."""
    clock = SystemClock()
    async with agents.mesh(tmp_path, place.config()) as mesh:
        way = Way(mesh.ca_address)
        await way.open()
        environ = {"SECRET_TTL": "6s", "CA_ADDR": way.address}
        async with agents.agent(mesh, address=place.address, environ=environ) as agent:
            await agent.ready()
            while not await shows_a_valid_certificate(place, mesh):
                await clock.sleep(0.05)
            way.close()
            while await shows_a_valid_certificate(place, mesh):
                await clock.sleep(0.1)
            await clock.sleep(10)
            assert not await shows_a_valid_certificate(place, mesh)
            left = await agent.until(15020, "/stats/prometheus", 200)
            await way.open()
            back = clock.monotonic()
            while not await shows_a_valid_certificate(place, mesh):
                await clock.sleep(0.05)
            seconds = clock.monotonic() - back
            way.close()
    sys.stdout.write(f"expiry: first good handshake {seconds:.1f} s after the CA was back\n")
    assert 'istio_agent_cert_expiry_seconds{resource_name="default"} -' in left


async def test_envoy_serves_while_the_control_plane_is_away_and_hears_of_it_again(
    tmp_path: Path, place: Place
) -> None:
    async with (
        agents.mesh(tmp_path, place.config()) as mesh,
        agents.agent(mesh, address=place.address) as agent,
    ):
        await agent.ready()
        client = await connect(place.address, mesh.root_file)
        await mesh.stop_xds()
        await agent.until_log("control plane stream ended", times=2)
        assert "x-config: one" in await client.get()
        assert (await agent.get(15021, "/healthz/ready"))[0] == 200
        mesh.plane.serve(place.config("two"))
        await mesh.start_xds()
        await until_config("two", place, mesh)
        assert "200 OK" in await client.get()
        client.close()


async def test_a_server_that_asks_to_go_elsewhere_is_left_without_losing_anything(
    tmp_path: Path, place: Place
) -> None:
    async with agents.mesh(tmp_path, place.config()) as mesh:
        await mesh.stop_xds()
        mesh.options += [("grpc.max_connection_age_ms", 300)]
        mesh.options += [("grpc.max_connection_age_grace_ms", 60_000)]
        await mesh.start_xds()
        async with agents.agent(mesh, address=place.address) as agent:
            await agent.ready()
            client = await connect(place.address, mesh.root_file)
            await agent.until_log("the peer asked to go elsewhere", times=3)
            assert "200 OK" in await client.get()
            mesh.plane.serve(place.config("two"))
            await until_config("two", place, mesh)
            assert "200 OK" in await client.get()
            client.close()


async def until_config(header: str, place: Place, mesh: Mesh) -> None:
    async with asyncio.timeout(SECONDS):
        while True:
            client = await connect(place.address, mesh.root_file)
            said = await client.get()
            client.close()
            if f"x-config: {header}" in said:
                return


async def test_an_agent_that_starts_first_waits_for_the_control_plane(tmp_path: Path) -> None:
    async with agents.mesh(tmp_path, EMPTY) as mesh:
        await mesh.stop_xds()
        async with agents.agent(mesh) as agent:
            await agent.until_log("control plane stream ended", times=2)
            body = await agent.until(15020, "/healthz/ready", 503)
            while "envoy is not up" in body:
                body = await agent.until(15020, "/healthz/ready", 503)
            assert "cds updates: 0 successful" in body
            await mesh.start_xds()
            await agent.ready()


async def test_listeners_wait_for_a_certificate(tmp_path: Path, place: Place) -> None:
    async with agents.mesh(tmp_path, place.config()) as mesh:
        away = {"CA_ADDR": "127.0.0.1:1"}
        async with agents.agent(mesh, address=place.address, environ=away) as agent:
            await agent.until_log("no certificate from the ca")
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(place.address, PORT)


async def test_a_token_of_another_issuer_gets_no_certificate(tmp_path: Path) -> None:
    async with agents.mesh(tmp_path, EMPTY) as mesh, agents.agent(mesh) as agent:
        token = agent.folder / "var/run/secrets/tokens/istio-token"
        await agent.until_log("certificate obtained")
        header, claims, _ = token.read_text().split(".")
        forged = tmp_path / "forged"
        forged.write_text(f"{header}.{claims}.{'A' * 86}")
        environ = {"SEINE_TOKEN_FILE": str(forged)}
        async with agents.agent(mesh, environ=environ) as other:
            await other.until_log("UNAUTHENTICATED")
            assert "certificate obtained" not in other.log


async def test_envoy_comes_back_after_a_crash(tmp_path: Path, place: Place) -> None:
    async with (
        agents.mesh(tmp_path, place.config()) as mesh,
        agents.agent(mesh, address=place.address) as agent,
    ):
        await agent.ready()
        before = agent.envoy()
        assert before  # 0 would be this very process group
        os.kill(before, signal.SIGKILL)
        await agent.until_log("envoy ended")
        await agent.ready()
        assert agent.envoy() not in {0, before}
        client = await connect(place.address, mesh.root_file)
        assert "200 OK" in await client.get()
        client.close()


async def test_a_killed_agent_leaves_no_envoy(tmp_path: Path) -> None:
    async with agents.mesh(tmp_path, EMPTY) as mesh, agents.agent(mesh) as agent:
        await agent.ready()
        envoy = agent.envoy()
        agent.process.kill()
        await agent.process.wait()
        async with asyncio.timeout(SECONDS):
            while not agents.gone(envoy):  # noqa: ASYNC110 - not our child
                await asyncio.sleep(0.01)


async def test_a_leaving_pod_finishes_what_was_asked(tmp_path: Path, place: Place) -> None:
    environ = {"EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true", "MINIMUM_DRAIN_DURATION": "200ms"}
    async with (
        agents.mesh(tmp_path, place.config()) as mesh,
        agents.agent(mesh, address=place.address, environ=environ) as agent,
    ):
        await agent.ready()
        envoy = agent.envoy()
        client = await connect(place.address, mesh.root_file)
        await client.send("/slow")
        await place.slow_arrived.wait()
        agent.process.send_signal(signal.SIGTERM)
        assert "leaving" in await agent.until(15020, "/healthz/ready", 503)
        place.release.set()
        assert "200 OK" in await client.answer()
        client.close()
        assert await asyncio.wait_for(agent.process.wait(), SECONDS) == 0
        assert agents.gone(envoy)


async def test_one_page_has_the_metrics_of_agent_envoy_and_application(
    tmp_path: Path, place: Place
) -> None:
    environ = {
        "ISTIO_PROMETHEUS_ANNOTATIONS": '{"scrape":"true","port":"8080","path":"/metrics"}',
        "ISTIO_META_SEINE_APPLICATION_ADDRESS": place.application,
    }
    async with (
        agents.mesh(tmp_path, EMPTY) as mesh,
        agents.agent(mesh, address=place.address, environ=environ) as agent,
    ):
        await agent.ready()
        status, body = await agent.get(15020, "/stats/prometheus")
        assert status == 200
        assert "istio_agent_xds_proxy_requests_total" in body
        assert "envoy_server_live" in body
        assert "app_orders 7" in body
        assert "# EOF" not in body
        status, body = await agent.get(15090, "/stats/prometheus")
        assert status == 200
        assert "envoy_server_live" in body
        assert "istio_agent_" not in body
        assert "app_orders" not in body


async def test_kubelets_probes_reach_the_application(tmp_path: Path, place: Place) -> None:
    environ = {
        "ISTIO_KUBE_APP_PROBERS": """{
            "/app-health/web/livez": {"httpGet": {"path": "/live", "port": 8080}},
            "/app-health/web/readyz": {"tcpSocket": {"port": 8080}},
            "/app-health/web/startupz": {"tcpSocket": {"port": 8081}}
        }""",
        "ISTIO_META_SEINE_APPLICATION_ADDRESS": place.application,
    }
    async with (
        agents.mesh(tmp_path, EMPTY) as mesh,
        agents.agent(mesh, address=place.address, environ=environ) as agent,
    ):
        await agent.until(15020, "/app-health/web/livez", 200)
        await agent.until(15020, "/app-health/web/readyz", 200)
        assert (await agent.get(15020, "/app-health/web/startupz"))[0] == 500
        assert (await agent.get(15020, "/app-health/web/other"))[0] == 404


async def test_quitquitquit_ends_the_agent(tmp_path: Path) -> None:
    async with agents.mesh(tmp_path, EMPTY) as mesh, agents.agent(mesh) as agent:
        await agent.ready()
        assert (await agent.get(15020, "/quitquitquit"))[0] == 405
        assert (await agent.get(15020, "/quitquitquit", method="POST"))[0] == 200
        assert await asyncio.wait_for(agent.process.wait(), SECONDS) == 0
