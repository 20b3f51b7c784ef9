"""A real agent and its Envoy get modules from a web server or a registry, and scripts."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.extensions import Failure, Module, Pull
from libs.model.service import Protocol, ServicePort
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import credentials, generate
from libs.xds.credentials import CredentialName, Material
from libs.xds.types import EXTENSION, LISTENER, SECRET, Snapshot
from tests.support import agent as agents
from tests.support import mesh, traffic, wasm_module
from tests.support.mesh import extension
from tests.support.registry import Registry, docker_config

PORT = 8088
MODULE = wasm_module.module()
DIGEST = hashlib.sha256(MODULE).hexdigest()
HERE = {"SEINE_MODULES_FROM_LOOPBACK": "true"}
USERS = {"ann": "word"}
ADDS_HEADER = "function envoy_on_response(handle) handle:headers():add('x-script', 'yes') end"


@asynccontextmanager
async def web_server() -> AsyncIterator[str]:
    """Serve the module; yield its URL."""
    images = Registry()
    images.push_module("m", "v1", MODULE)
    async with images.serving():
        yield f"http://{images.host}/v2/m/blobs/sha256:{DIGEST}"


def snapshot(
    outbound: str,
    application: str,
    module: Module,
    secret: bytes = b"",
    *,
    rows: Sequence[Struct] = (),
) -> Snapshot:
    """Return what the client gets; `secret` is what `shop/mine` holds."""
    web = mesh.service("web", ServicePort(PORT, "http", Protocol.HTTP))
    behind = Endpoint(address=application, port=PORT, port_name="http")
    now = mesh.mesh(
        web,
        EndpointSet(key=web.key, endpoints=(behind,)),
        extension("m", module=module),
        *rows,
    )
    client = mesh.proxy(interception=Interception.NONE, outbound_address=outbound)
    found = generate.snapshot(Scoper().scope(now, client))
    wanted = CredentialName("shop", "mine", roots=False, registry=True)
    name = credentials.registry_name("shop/mine")
    made = credentials.registry(name, wanted, Material(registry=secret))
    held = credentials.credential_set("shop", [made] if made else [])
    return Snapshot({**found.sets, SECRET: held})


async def acts(outbound: str) -> bool:
    """Tell whether requests pass the module."""
    answer = await traffic.http((outbound, PORT), headers={"host": "web.shop"})
    assert answer.status == 200
    return answer.headers.get(wasm_module.HEADER[0]) == wasm_module.HEADER[1]


async def test_the_agent_fetches_and_envoy_runs_it(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    async with traffic.application(application, PORT), web_server() as url:
        wanted = snapshot(outbound, application, Module(url=url, sha256=DIGEST))
        async with (
            agents.mesh(tmp_path, wanted) as plane,
            agents.agent(plane, address=agents.loopback(), environ=HERE) as agent,
        ):
            await agent.ready()
            assert await acts(outbound)
            assert plane.plane.refused == []


async def test_and_a_module_of_connections_too(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    images = Registry()
    images.push_module("m", "v1", wasm_module.connection_module())
    async with traffic.application(application, PORT), images.serving():
        for failure, tag, status in (
            (Failure.CLOSE, "v1", 400),  # what the module puts before a request makes it none
            (Failure.OPEN, "gone", 200),
        ):
            url = f"oci://{images.host}/m:{tag}"
            module = Module(url=url, connections=True, failure=failure)
            folder = tmp_path / tag
            folder.mkdir()
            async with (
                agents.mesh(folder, snapshot(outbound, application, module)) as plane,
                agents.agent(plane, address=agents.loopback(), environ=HERE) as agent,
            ):
                await agent.ready()
                answer = await traffic.http((outbound, PORT), headers={"host": "web.shop"})
                assert answer.status == status
                assert plane.plane.refused == []


async def test_the_agent_proves_to_a_registry_who_it_is(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    images = Registry(users=USERS)
    images.push_module("team/m", "v1", MODULE)
    async with traffic.application(application, PORT), images.serving():
        module = Module(
            url=f"oci://{images.host}/team/m:v1",
            environment={"LEVEL": "3"},
            pull=Pull.ONCE,
            pull_secret="shop/mine",
        )
        secret = docker_config(images.host, username="ann", password=USERS["ann"])
        async with (
            agents.mesh(tmp_path, snapshot(outbound, application, module, secret)) as plane,
            agents.agent(plane, address=agents.loopback(), environ=HERE) as agent,
        ):
            await agent.ready()
            assert await acts(outbound)
            assert plane.plane.refused == []
            assert images.asked[-1] == f"GET /v2/team/m/blobs/sha256:{DIGEST} as ann"
            _, dump = await agent.get(15000, "/config_dump?include_eds")
            assert "LEVEL" in dump
            for kept in ("ISTIO_META_WASM", "shop/mine", USERS["ann"]):
                assert kept not in dump
            assert "YW5uOndvcmQ" not in agent.log


async def test_without_the_secret_the_module_is_refused_in_words(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    images = Registry(users=USERS)
    images.push_module("m", "v1", MODULE)
    async with images.serving():
        module = Module(url=f"oci://{images.host}/m:v1", pull_secret="shop/mine")
        async with (
            agents.mesh(tmp_path, snapshot(outbound, application, module)) as plane,
            agents.agent(plane, address=agents.loopback(), environ=HERE) as agent,
        ):
            await agent.until_log("envoy does not get an extension")
            await plane.plane.settled([EXTENSION])
            (refusal,) = plane.plane.refused
            assert "there is no image pull Secret shop/mine that is for this proxy" in refusal
    assert images.asked == []


async def test_a_module_that_may_be_skipped_is_when_a_registry_has_none(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    images = Registry()
    async with traffic.application(application, PORT), images.serving():
        module = Module(url=f"oci://{images.host}/m:v1", failure=Failure.OPEN)
        async with (
            agents.mesh(tmp_path, snapshot(outbound, application, module)) as plane,
            agents.agent(plane, address=agents.loopback(), environ=HERE) as agent,
        ):
            await agent.ready()
            assert not await acts(outbound)
            assert plane.plane.refused == []
            assert "the registry answered 404" in agent.log


async def test_addresses_of_the_machine_itself_are_not_asked(tmp_path: Path) -> None:
    outbound, application = agents.loopback(), agents.loopback()
    async with (
        web_server() as url,
        agents.mesh(tmp_path, snapshot(outbound, application, Module(url=url))) as plane,
        agents.agent(plane, address=agents.loopback()) as agent,
    ):
        await agent.until_log("envoy does not get an extension")
        await plane.plane.settled([EXTENSION])
        (refusal,) = plane.plane.refused
        assert f"{url}: 127.0.0.1 is a loopback address" in refusal


async def added(outbound: str) -> str:
    """Return the header that a script adds; empty if it is not there."""
    answer = await traffic.http((outbound, PORT), headers={"host": "web.shop"})
    return answer.headers.get("x-script", "")


@pytest.mark.parametrize("judged", [True, False])
async def test_a_module_that_envoy_would_refuse_freezes_no_listener(
    judged: bool, tmp_path: Path
) -> None:
    """Without a judge it does: changes of the listener do not come any more."""
    outbound, application = agents.loopback(), agents.loopback()
    images = Registry()
    images.push_module("m", "v1", MODULE)
    images.push_module("m", "v2", wasm_module.failing_at_start())
    environ = {**HERE, "SEINE_TRY_EXTENSIONS": str(judged).lower()}
    script = extension("a", lua=ADDS_HEADER)
    async with traffic.application(application, PORT), images.serving():
        module = Module(url=f"oci://{images.host}/m:v1")
        broken = structs.replace(module, url=f"oci://{images.host}/m:v2")
        async with (
            agents.mesh(tmp_path, snapshot(outbound, application, module)) as plane,
            agents.agent(plane, address=agents.loopback(), environ=environ) as agent,
        ):
            await agent.ready()
            assert await acts(outbound)
            await plane.plane.settled(plane.plane.serve(snapshot(outbound, application, broken)))
            (refusal,) = plane.plane.refused
            assert ("proxy_on_vm_start failed" in refusal) is judged
            changed = snapshot(outbound, application, broken, rows=(script,))
            plane.plane.serve(changed)
            await plane.plane.settled([LISTENER])
            async with asyncio.timeout(60):
                while judged and await added(outbound) != "yes":
                    assert await acts(outbound)
            assert judged or any("Unable to create" in it for it in plane.plane.refused[1:])
            assert await added(outbound) == ("yes" if judged else "")
            assert await acts(outbound)
