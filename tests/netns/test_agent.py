"""Agent and Envoy in a pod's namespace, around an application that knows nothing of them."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from libs.xds.types import Snapshot
from tests.support import agent as agents
from tests.support import netns, traffic
from tests.support.envoy_json import http_chain, snapshot
from tests.support.netns import Pod

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

EVERYWHERE = "0.0.0.0"  # noqa: S104 - inside the pod


@pytest.fixture
def pod() -> Iterator[Pod]:
    with netns.pod() as made:
        yield made


def passthrough(name: str, source: str = "") -> dict[str, Any]:
    """Return a cluster that goes on to where the connection was for."""
    made = {"name": name, "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED"}
    if source:
        bind = {"source_address": {"address": source, "port_value": 0}}
        return {**made, "upstream_bind_config": bind}
    return made


def virtual(name: str, port: int, cluster: str) -> dict[str, Any]:
    kind = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst"
    return {
        "name": name,
        "address": {"socket_address": {"address": EVERYWHERE, "port_value": port}},
        "listener_filters": [
            {
                "name": "envoy.filters.listener.original_dst",
                "typed_config": {"@type": f"type.googleapis.com/{kind}"},
            }
        ],
        "filter_chains": [http_chain(cluster, {"x-passed": name})],
    }


def captured() -> Snapshot:
    return snapshot(
        [passthrough("in", "127.0.0.6"), passthrough("out")],
        [virtual("inbound", 15006, "in"), virtual("outbound", 15001, "out")],
    )


@asynccontextmanager
async def application(listening: socket.socket):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """Answer HTTP with the address of whoever asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                body = str(writer.get_extra_info("peername")[0]).encode()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
                if b"connection: close" in head:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening.settimeout(None)
    server = await asyncio.start_server(serve, sock=listening)
    try:
        yield
    finally:
        server.close()


async def ask_from(pod: Pod, address: str, port: int) -> str:
    """Ask as an application of the pod; return the whole answer."""
    client = pod.dial(address, port)
    client.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=client)
    try:
        writer.write(b"GET / HTTP/1.1\r\nhost: there\r\nconnection: close\r\n\r\n")
        async with asyncio.timeout(60):
            return (await reader.read()).decode()
    finally:
        writer.close()


async def test_an_application_that_knows_nothing_is_in_the_mesh(tmp_path: Path, pod: Pod) -> None:
    pod.lay()
    environ = {
        "SEINE_LISTEN_ADDRESS": EVERYWHERE,
        "SEINE_ADMIN_ADDRESS": "127.0.0.1",
        "ISTIO_KUBE_APP_PROBERS": '{"/app-health/web/livez": {"httpGet": {"port": 8080}}}',
    }
    async with (
        agents.mesh(tmp_path, captured(), host=pod.host) as mesh,
        application(pod.listen(8080)),
        application(netns.listen(8080, address=pod.host)),
        agents.agent(
            mesh, address=pod.address, environ=environ, prefix=pod.enter_as_proxy
        ) as agent,
    ):
        await agent.ready()
        answer = await traffic.http((pod.address, 8080))
        assert answer.headers["x-passed"] == "inbound"
        assert answer.body == "::ffff:127.0.0.6"
        assert "x-passed: outbound" in await ask_from(pod, pod.host, 8080)
        assert "x-passed" not in await ask_from(pod, "127.0.0.1", 8080)
        assert (await agent.get(15090, "/stats/prometheus"))[0] == 200
        status, body = await agent.get(15020, "/app-health/web/livez")
        assert (status, body) == (200, "::ffff:127.0.0.6")
