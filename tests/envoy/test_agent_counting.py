"""A real agent counts the bytes of connections through its Envoy, also after that has crashed."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from libs.xds.generate import metrics
from libs.xds.generate.metrics import Called, Side
from libs.xds.types import Snapshot
from tests.support import agent as agents
from tests.support import traffic
from tests.support.agent import Agent
from tests.support.envoy_json import snapshot

PORT = 9444
SENT = re.compile(r'^istio_tcp_sent_bytes_total\{.*source_app="web".*\} (\d+)$', re.MULTILINE)
SIDE = Side("client-d", "shop", "web", "v1", "client", "v1", "Kubernetes")


def configuration(address: str, application: str) -> Snapshot:
    """Return a listener whose connections are told of each second."""
    made = metrics.of_connections(SIDE, "outbound", Called("web", "web"), lasting=True)
    logs = [json_format.MessageToDict(log) for log in made if log.name != metrics.NAME]
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tcp",
        "cluster": "application",
        "access_log": logs,
        "access_log_options": {"access_log_flush_interval": "1s"},
    }
    name = "envoy.filters.network.tcp_proxy"
    listener = {
        "name": "outbound",
        "address": _socket(address, PORT),
        "filter_chains": [{"filters": [{"name": name, "typed_config": proxy}]}],
    }
    endpoint = {"endpoint": {"address": _socket(application, 8080)}}
    cluster = {
        "name": "application",
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": "application",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    return snapshot([cluster], [listener])


def _socket(address: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": address, "port_value": port}}


@asynccontextmanager
async def line(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect as soon as Envoy listens."""
    async with asyncio.timeout(90):
        while True:
            try:
                reader, writer = await asyncio.open_connection(address, PORT)
                break
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
    try:
        yield reader, writer
    finally:
        writer.close()


async def counted(agent: Agent, wanted: int, *, port: int = 15020) -> None:
    """Wait until the page that is scraped shows so many bytes, and no more."""
    async with asyncio.timeout(90):
        while True:
            _, page = await agent.get(port, "/stats/prometheus")
            total = sum(map(int, SENT.findall(page)))
            assert total <= wanted
            if total == wanted:
                return
            await asyncio.sleep(0.02)


async def test_bytes_are_on_the_page_while_a_connection_lasts(tmp_path: Path) -> None:
    address, application = agents.loopback(), agents.loopback()
    async with (
        traffic.application(application, 8080),
        agents.mesh(tmp_path, configuration(address, application)) as mesh,
        agents.agent(mesh, address=address) as agent,
    ):
        await agent.ready()
        async with line(address) as (reader, writer):
            for total in (300, 800):
                size = 300 if total == 300 else 500
                writer.write(b"\x00" * size)
                await reader.readexactly(size)
                await counted(agent, total)
                await counted(agent, total, port=15090)
            os.kill(agent.envoy(), signal.SIGKILL)
            await agent.until_log("envoy ended")
        await agent.ready()
        async with line(address) as (reader, writer):
            writer.write(b"\x00" * 7)
            await reader.readexactly(7)
            await counted(agent, 807)
