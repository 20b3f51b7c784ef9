"""A real agent and its Envoy: what the bootstrap is made of takes effect, bad patches do not."""

import asyncio
import copy
import json
import ssl
from pathlib import Path
from typing import Any

import pytest

from libs.protos.bootstrap.v1.bootstrap_pb2 import Patches
from libs.xds.types import BOOTSTRAP, NamedResource, Snapshot, resource, resource_set
from services.agent.patches import TYPE_URL
from tests.support import agent as agents
from tests.support.agent import Agent
from tests.support.certificates import TestAuthority, client_context
from tests.support.envoy_json import WORKLOAD_TLS, http_chain, snapshot

SECONDS = 30


def patched(text: str | None) -> Snapshot:
    """Return a snapshot with nothing in it but patches of the bootstrap."""
    found: list[NamedResource] = []
    if text is not None:
        body = Patches(json=text).SerializeToString()
        found = [resource("bootstrap", BOOTSTRAP, body=body)]
    return Snapshot({**snapshot([], []).sets, BOOTSTRAP: resource_set(BOOTSTRAP, found)})


PATIENT = {"SEINE_BOOTSTRAP_SECONDS": "60"}  # a busy control plane is not one that is away


async def config(agent: Agent) -> dict[str, Any]:
    """Return the bootstrap as Envoy has it."""
    body = await agent.until(15000, "/config_dump?resource=&mask=bootstrap", 200)
    dump: dict[str, Any] = json.loads(body)["configs"][0]["bootstrap"]
    return dump


def proxy_config(mesh: agents.Mesh, **fields: object) -> dict[str, str]:
    own = {
        "discoveryAddress": f"{mesh.host}:{mesh.port}",
        "terminationDrainDuration": "0s",
        "concurrency": 1,
    }
    return {"PROXY_CONFIG": json.dumps({**own, **fields})}


def test_agent_and_control_plane_mean_the_same_type() -> None:
    assert TYPE_URL == BOOTSTRAP


async def test_a_patch_is_in_force_before_anything_else_is(tmp_path: Path) -> None:
    text = json.dumps({"stats_flush_interval": "7s", "static_resources": {"clusters": [CLUSTER]}})
    async with (
        agents.mesh(tmp_path, patched(text)) as mesh,
        agents.agent(mesh, environ=PATIENT) as agent,
    ):
        await agent.ready()
        found = await config(agent)
        assert found["stats_flush_interval"] == "7s"
        names = [one["name"] for one in found["static_resources"]["clusters"]]
        assert "xds-grpc" in names
        assert names[-1] == "patched"
        version = mesh.plane.version(BOOTSTRAP, "bootstrap")
        assert found["node"]["metadata"]["SEINE_BOOTSTRAP"] == version


CLUSTER = {
    "name": "patched",
    "type": "STATIC",
    "load_assignment": {"cluster_name": "patched", "endpoints": []},
}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"static_resources": {"clusters": [{"name": "x", "type": "EDS"}]}}', "error init"),
        ('{"no_such_field": ', "error init"),
    ],
    ids=["refused by envoy", "no json"],
)
async def test_a_bad_patch_keeps_no_proxy_from_starting(
    tmp_path: Path, text: str, words: str
) -> None:
    async with (
        agents.mesh(tmp_path, patched(text)) as mesh,
        agents.agent(mesh, environ=PATIENT) as agent,
    ):
        await agent.ready()
        told = (await config(agent))["node"]["metadata"]
        assert told["SEINE_BOOTSTRAP"] == ""
        version, _, why = told["SEINE_BOOTSTRAP_REFUSED"].partition(" ")
        assert version == mesh.plane.version(BOOTSTRAP, "bootstrap")
        assert words in why
        assert "the patches of the bootstrap are left out" in agent.log


async def test_a_patch_that_envoy_only_trips_over_when_it_runs_is_left_out(
    tmp_path: Path,
) -> None:
    """A listener on a port that is taken: a configuration that is right, and cannot be served."""
    address = agents.loopback()
    taken = await asyncio.start_server(lambda _, writer: writer.close(), address, 9555)
    socket = {"address": address, "port_value": 9555}
    chain = http_chain("agent", {})
    listener = {
        "name": "taken",
        "address": {"socket_address": socket},
        "enable_reuse_port": False,
        "filter_chains": [chain],
    }
    text = json.dumps({"static_resources": {"listeners": [listener]}})
    try:
        async with (
            agents.mesh(tmp_path, patched(text)) as mesh,
            agents.agent(mesh, environ=PATIENT, address=address) as agent,
        ):
            await agent.until_log("the patches of the bootstrap are left out")
            await agent.ready()
            told = (await config(agent))["node"]["metadata"]
            assert "did not stay up" in told["SEINE_BOOTSTRAP_REFUSED"]
    finally:
        taken.close()


async def test_nobody_waits_for_a_control_plane_that_is_away(tmp_path: Path) -> None:
    environ = {"SEINE_BOOTSTRAP_SECONDS": "0.3"}
    async with agents.mesh(tmp_path, patched(None)) as mesh:
        await mesh.stop_xds()
        async with agents.agent(mesh, environ=environ) as agent:
            await agent.until_log("nobody said how the bootstrap is patched")
            await agent.until(15000, "/server_info", 200)


async def test_who_does_not_ask_gets_none(tmp_path: Path) -> None:
    environ = {"BOOTSTRAP_XDS_AGENT": "false"}
    async with (
        agents.mesh(tmp_path, patched('{"stats_flush_interval": "7s"}')) as mesh,
        agents.agent(mesh, environ=environ) as agent,
    ):
        await agent.ready()
        found = await config(agent)
        assert "stats_flush_interval" not in found
        assert "SEINE_BOOTSTRAP" not in found["node"]["metadata"]


class Datagrams(asyncio.DatagramProtocol):
    """Notes that one came."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        del data, addr
        self.came.set()


async def test_settings_of_the_bootstrap_reach_envoy(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    transport, datagrams = await loop.create_datagram_endpoint(
        Datagrams, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    tls = {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["logs"], "sni": "logs"}
    service = {"address": "127.0.0.1:9", "tlsSettings": tls, "tcpKeepalive": {"time": "60s"}}
    try:
        async with agents.mesh(tmp_path, patched(None)) as mesh:
            environ = proxy_config(
                mesh,
                statsdUdpAddress=f"localhost:{port}",
                envoyAccessLogService=service,
                envoyMetricsService={"address": "collector.invalid:9"},
                runtimeValues={"overload.test": "true"},
                extraStatTags=["flavour"],
                fileFlushInterval="2s",
                fileFlushMinSizeKb=3,
                tracingServiceName="CANONICAL_NAME_ONLY",
                connectionSettings={"globalDownstreamConnectionLimit": 777},
            )
            async with agents.agent(mesh, environ=environ) as agent:
                await agent.ready()
                await asyncio.wait_for(datagrams.came.wait(), SECONDS)
                info = json.loads(await agent.until(15000, "/server_info", 200))
                options = info["command_line_options"]
                assert options["file_flush_interval"] == "2s"
                line = command_line(agent.envoy())
                assert line[line.index(b"--file-flush-min-size-kb") + 1] == b"3"
                assert info["node"]["cluster"] == "istio-proxy"
                runtime = json.loads(await agent.until(15000, "/runtime", 200))
                assert runtime["entries"]["overload.test"]["final_value"] == "true"
                clusters = await agent.until(15000, "/clusters", 200)
                assert "envoy_accesslog_service::127.0.0.1:9" in clusters
                assert "envoy_metrics_service::" in clusters
                assert "777" in json.dumps((await config(agent))["overload_manager"])
    finally:
        transport.close()


def command_line(pid: int) -> list[bytes]:
    """Return how a process was started."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


@pytest.mark.parametrize("wanted", [True, False])
async def test_metrics_are_compressed_for_who_takes_them_so(tmp_path: Path, wanted: bool) -> None:
    async with agents.mesh(tmp_path, patched(None)) as mesh:
        environ = {} if wanted else proxy_config(mesh, statsCompression=False)
        async with agents.agent(mesh, environ=environ) as agent:
            await agent.ready()
            reader, writer = await asyncio.open_connection(agent.address, 15090)
            try:
                writer.write(
                    b"GET /stats/prometheus HTTP/1.1\r\nhost: x\r\n"
                    b"accept-encoding: gzip\r\nconnection: close\r\n\r\n"
                )
                answer = await asyncio.wait_for(reader.read(), SECONDS)
            finally:
                writer.close()
            head, _, _ = answer.partition(b"\r\n\r\n")
            assert (b"content-encoding: gzip" in head.lower()) is wanted


# proves: MeshConfig defaultConfig.caCertificatesPem
@pytest.mark.parametrize("trusted", [True, False])
async def test_certificates_of_additional_roots_are_believed(tmp_path: Path, trusted: bool) -> None:
    """Negative control: without the setting the same caller is turned away."""
    foreign = TestAuthority("elsewhere").issue("caller")
    address = agents.loopback()
    socket = copy.deepcopy(WORKLOAD_TLS)
    socket["typed_config"]["require_client_certificate"] = True  # type: ignore[index]
    chain = {**http_chain("agent", {}), "transport_socket": socket}
    inbound = {
        "name": "inbound",
        "traffic_direction": "INBOUND",
        "address": {"socket_address": {"address": address, "port_value": 9443}},
        "filter_chains": [chain],
    }
    async with agents.mesh(tmp_path, snapshot([], [inbound])) as mesh:
        roots = [foreign.roots.decode()] if trusted else []
        environ = proxy_config(mesh, caCertificatesPem=roots)
        async with agents.agent(mesh, address=address, environ=environ) as agent:
            await agent.ready()
            assert await answers(address, client_context(foreign, tmp_path)) is trusted


async def answers(address: str, context: ssl.SSLContext) -> bool:
    """Tell whether a request is answered: with TLS 1.3 a client hears of a refusal only then."""
    reader, writer = await asyncio.open_connection(address, 9443, ssl=context)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        return bool(await asyncio.wait_for(reader.read(), SECONDS))
    except (ssl.SSLError, ConnectionError):
        return False
    finally:
        writer.close()
