"""A real agent and its Envoy get a module of WebAssembly that stands on a web server."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.extensions import Module
from libs.model.service import Protocol, ServicePort
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import EXTENSION, Snapshot
from tests.support import agent as agents
from tests.support import mesh, traffic, wasm_module
from tests.support.mesh import extension

PORT = 8088
MODULE = wasm_module.module()
DIGEST = hashlib.sha256(MODULE).hexdigest()


@asynccontextmanager
async def web_server() -> AsyncIterator[str]:
    """Serve the module; yield its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + MODULE)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1")
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/module.wasm"
    server.close()


def snapshot(outbound: str, application: str, url: str) -> Snapshot:
    web = mesh.service("web", ServicePort(PORT, "http", Protocol.HTTP))
    behind = Endpoint(address=application, port=PORT, port_name="http")
    now = mesh.mesh(
        web,
        EndpointSet(key=web.key, endpoints=(behind,)),
        extension("m", module=Module(url=url, sha256=DIGEST)),
    )
    client = mesh.proxy(interception=Interception.NONE, outbound_address=outbound)
    return generate.snapshot(Scoper().scope(now, client))


async def test_the_agent_fetches_and_envoy_runs_it(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    allowed = {"SEINE_MODULES_FROM_LOOPBACK": "true"}
    async with (
        traffic.application(application, PORT),
        web_server() as url,
        agents.mesh(tmp_path, snapshot(outbound, application, url)) as plane,
        agents.agent(plane, address=agents.loopback(), environ=allowed) as agent,
    ):
        await agent.ready()
        answer = await traffic.http((outbound, PORT), headers={"host": "web.shop"})
        assert answer.status == 200
        assert answer.headers[wasm_module.HEADER[0]] == wasm_module.HEADER[1]
        assert plane.plane.refused == []


async def test_addresses_of_the_machine_itself_are_not_asked(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    async with (
        web_server() as url,
        agents.mesh(tmp_path, snapshot(outbound, application, url)) as plane,
        agents.agent(plane, address=agents.loopback()) as agent,
    ):
        await agent.until_log("module not fetched")
        await plane.plane.settled([EXTENSION])
        (refusal,) = plane.plane.refused
        assert f"{url}: 127.0.0.1 is a loopback address" in refusal
