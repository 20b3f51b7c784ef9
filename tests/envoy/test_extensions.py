"""What a real Envoy does with users' scripts and modules, and with patches."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse
from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.extensions import Failure, Module, Phase, Traffic
from libs.model.service import Protocol, ServicePort
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import EXTENSION, Snapshot, field, resource, resource_set
from services.agent.modules.errors import ModuleError
from services.agent.modules.rewrite import FileOf, rewritten
from services.agent.modules.source import Source
from tests.support import mesh, traffic, wasm_module
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, running
from tests.support.lua_scripts import RIGHT, WRONG
from tests.support.mesh import extension
from tests.support.patches import patch_set
from tests.support.ports import free_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTBOUND, SERVER = "127.68.0.1", "127.68.0.11"
ADDS_HEADER = """
function envoy_on_response(handle)
  handle:headers():add("x-script", "%s")
end
"""


class Client(Struct, frozen=True):
    """A client's Envoy, the port of the service, and that of the application behind it."""

    envoy: Envoy
    http: int
    application: int

    async def answer(self, *rows: Struct) -> traffic.Answer:
        """Have Envoy follow these rows, and return what a request brings."""
        await self.envoy.serve(_snapshot(self.http, self.application, *rows))
        assert await self.envoy.complaints() == []
        return await traffic.http((OUTBOUND, self.http), "/", headers={"host": "web.shop"})


def _snapshot(
    http: int, application: int, *rows: Struct, protocol: Protocol = Protocol.HTTP
) -> Snapshot:
    web = mesh.service("web", ServicePort(http, "http", protocol))
    behind = Endpoint(address=SERVER, port=application, port_name="http")
    now = mesh.mesh(web, EndpointSet(key=web.key, endpoints=(behind,)), *rows)
    client = mesh.proxy(interception=Interception.NONE, outbound_address=OUTBOUND)
    return generate.snapshot(Scoper().scope(now, client))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder: Path = tmp_path_factory.mktemp("envoy")
    http, application = free_ports(2)
    certificate = TestAuthority().issue("client")
    async with (
        traffic.application(SERVER, application),
        running(_snapshot(http, application), certificate, folder) as envoy,
    ):
        yield Client(envoy, http, application)


async def test_a_script_acts_and_goes_again(client: Client) -> None:
    assert "x-script" not in (await client.answer()).headers
    with_script = await client.answer(extension("a", lua=ADDS_HEADER % "one"))
    assert with_script.headers["x-script"] == "one"
    changed = await client.answer(extension("a", lua=ADDS_HEADER % "two"))
    assert changed.headers["x-script"] == "two"
    assert "x-script" not in (await client.answer()).headers


async def test_a_script_sees_only_the_traffic_that_it_is_for(client: Client) -> None:
    for seen in (Traffic(client=False), Traffic(ports=(1,))):
        answer = await client.answer(extension("a", lua=ADDS_HEADER % "one", traffic=(seen,)))
        assert answer.status == 200
        assert "x-script" not in answer.headers


async def test_scripts_of_different_phases_act_in_their_order(client: Client) -> None:
    # Responses pass the filters backwards: the first one has the last word.
    a = extension("a", lua=ADDS_HEADER % "a", priority=9)
    b = extension("b", lua=ADDS_HEADER % "b")
    assert (await client.answer(a, b)).headers["x-script"] == "a"
    early = extension("b", lua=ADDS_HEADER % "b", phase=Phase.AUTHN)
    assert (await client.answer(a, early)).headers["x-script"] == "b"


async def test_a_module_of_webassembly_acts(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "module.wasm"
    file.write_bytes(wasm_module.module())
    module = Module(url=f"file://{file}", failure=Failure.CLOSE)
    answer = await client.answer(extension("m", module=module))
    assert answer.headers[wasm_module.HEADER[0]] == wasm_module.HEADER[1]


@pytest.mark.parametrize("connections", [False, True])
@pytest.mark.parametrize("failure", [Failure.CLOSE, Failure.OPEN])
async def test_a_new_proxy_does_not_wait_for_a_module_that_envoy_refuses(
    failure: Failure, connections: bool, tmp_path: Path
) -> None:
    file = tmp_path / "module.wasm"
    file.write_bytes(b"no module at all")
    http, application = free_ports(2)
    module = Module(url=f"file://{file}", failure=failure, connections=connections)
    given = _snapshot(http, application, extension("m", module=module))
    async with (
        traffic.application(SERVER, application),
        running(given, TestAuthority().issue("client"), tmp_path) as envoy,
    ):
        await envoy.plane.quiet()
        (refusal,) = envoy.plane.refused
        assert "Unable to create Wasm plugin" in refusal
        answer = await traffic.http((OUTBOUND, http), "/", headers={"host": "web.shop"})
        shut = 0 if connections else 500
        assert answer.status == (200 if failure is Failure.OPEN else shut)


async def test_nor_for_a_script_that_envoy_refuses(tmp_path: Path) -> None:
    http, application = free_ports(2)
    given = _snapshot(http, application, extension("a", lua="function ("))
    async with (
        traffic.application(SERVER, application),
        running(given, TestAuthority().issue("client"), tmp_path) as envoy,
    ):
        await envoy.plane.quiet()
        assert "script load error" in envoy.plane.refused[0]
        answer = await traffic.http((OUTBOUND, http), "/", headers={"host": "web.shop"})
        assert answer.status == 500


async def test_scripts_are_judged_as_envoy_judges_them(client: Client) -> None:
    """Each has a name of its own: what Envoy refused once it keeps refusing with the listener."""
    for index, code in enumerate((*RIGHT, *WRONG)):
        client.envoy.plane.refused.clear()
        row = extension(f"s{index}", lua=code)
        await client.envoy.serve(_snapshot(client.http, client.application, row))
        await client.envoy.plane.quiet()
        said = client.envoy.plane.refused
        assert bool(said) is (code in WRONG), (code, said)
        assert all("script load error" in text for text in said)
    await client.envoy.serve(_snapshot(client.http, client.application))
    client.envoy.plane.refused.clear()


async def _echoed(client: Client, module: Module) -> str:
    """Have Envoy run a module for connections of a port without a protocol; return the bytes."""
    row = extension("m", module=module)
    await client.envoy.serve(_snapshot(client.http, client.application, row, protocol=Protocol.TCP))
    assert await client.envoy.complaints() == []
    return (await traffic.exchange((OUTBOUND, client.http), b"hello")).body


async def test_a_module_of_connections_sees_their_bytes(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "module.wasm"
    file.write_bytes(wasm_module.connection_module())
    module = Module(url=f"file://{file}", connections=True)
    assert await _echoed(client, module) == "MODULE:HELLO"
    # In front of requests it does the same, and what it puts there is no request any more.
    assert (await client.answer(extension("m", module=module))).status == 400
    elsewhere = extension("m", module=module, traffic=(Traffic(ports=(1,)),))
    assert (await client.answer(elsewhere)).status == 200


async def test_a_module_that_comes_to_filter_requests_does(client: Client, tmp_path: Path) -> None:
    connections, requests = tmp_path / "connections.wasm", tmp_path / "requests.wasm"
    connections.write_bytes(wasm_module.connection_module())
    requests.write_bytes(wasm_module.module())
    for _ in range(2):
        first = Module(url=f"file://{connections}", connections=True)
        assert (await client.answer(extension("m", module=first))).status == 400
        second = await client.answer(extension("m", module=Module(url=f"file://{requests}")))
        assert second.headers[wasm_module.HEADER[0]] == wasm_module.HEADER[1]


@pytest.mark.parametrize(("failure", "later"), [(Failure.CLOSE, ""), (Failure.OPEN, "HELLO")])
async def test_a_module_of_connections_that_fails_ends_them_unless_it_may_be_skipped(
    client: Client, failure: Failure, later: str, tmp_path: Path
) -> None:
    file = tmp_path / "module.wasm"
    file.write_bytes(wasm_module.failing_connection_module())
    module = Module(url=f"file://{file}", connections=True, failure=failure)
    assert await _echoed(client, module) == ""  # the one in which it fails has lost its bytes
    assert (await traffic.exchange((OUTBOUND, client.http), b"hello")).body == later


async def _through_the_agent(snapshot: Snapshot, file_of: FileOf) -> Snapshot:
    """Return a snapshot as it is behind an agent to which `file_of` gives modules."""
    made = snapshot.of(EXTENSION).resources.values()
    message = b"".join(field(2, one.delta_bytes) for one in made)
    response = DeltaDiscoveryResponse.FromString(
        await rewritten(message, delta=True, file_of=file_of)
    )
    behind = [resource(it.name, EXTENSION, body=it.resource.value) for it in response.resources]
    return Snapshot({**snapshot.sets, EXTENSION: resource_set(EXTENSION, behind)})


async def test_a_module_that_is_nowhere_is_refused_in_words_and_the_last_one_goes_on(
    client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "module.wasm"
    file.write_bytes(wasm_module.module())
    remote = Module(url="https://example.com/m.wasm", config=b"{}")

    async def found(_: Source) -> Path:
        return file

    async def nothing(_: Source) -> Path:
        message = "status 404"
        raise ModuleError(message)

    for module, file_of, refusals, header in (
        (remote, found, 0, "was here"),
        (structs.replace(remote, config=b'{"a": 1}'), nothing, 1, "was here"),
        (structs.replace(remote, failure=Failure.OPEN), nothing, 1, None),
    ):
        wanted = _snapshot(client.http, client.application, extension("m", module=module))
        await client.envoy.serve(await _through_the_agent(wanted, file_of))
        await client.envoy.plane.quiet()
        refused = client.envoy.plane.refused
        assert len(refused) == refusals
        assert all("https://example.com/m.wasm: status 404" in text for text in refused)
        answer = await traffic.http((OUTBOUND, client.http), "/", headers={"host": "web.shop"})
        assert answer.status == 200
        assert answer.headers.get("x-module") == header
    client.envoy.plane.refused.clear()


async def test_listeners_change_while_a_module_of_theirs_is_nowhere(
    client: Client, tmp_path: Path
) -> None:
    file = tmp_path / "module.wasm"
    file.write_bytes(wasm_module.module())

    async def found(_: Source) -> Path:
        return file

    async def nothing(_: Source) -> Path:
        message = "status 404"
        raise ModuleError(message)

    row = extension("m", module=Module(url="https://example.com/m.wasm"))
    script = extension("a", lua=ADDS_HEADER % "added")
    broken = extension("m", module=Module(url="https://example.com/n.wasm"))
    for rows, file_of in (([row], found), ([broken], nothing), ([broken, script], nothing)):
        wanted = _snapshot(client.http, client.application, *rows)
        await client.envoy.serve(await _through_the_agent(wanted, file_of))
    await client.envoy.plane.quiet()
    refused, client.envoy.plane.refused = client.envoy.plane.refused, []
    assert all("https://example.com/n.wasm: status 404" in text for text in refused)
    answer = await traffic.http((OUTBOUND, client.http), "/", headers={"host": "web.shop"})
    assert answer.headers["x-script"] == "added"
    assert answer.headers["x-module"] == "was here"


async def test_patches_act_together_with_extensions(client: Client) -> None:
    patches = patch_set("""
        - applyTo: HTTP_FILTER
          match: {context: SIDECAR_OUTBOUND, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}
          patch:
            operation: INSERT_BEFORE
            value:
              name: patched
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua
                default_source_code: {inline_string: "function envoy_on_response(handle) handle:headers():add('x-patched', 'yes') end"}
        - applyTo: VIRTUAL_HOST
          match: {context: SIDECAR_OUTBOUND}
          patch: {operation: MERGE, value: {response_headers_to_add: [{header: {key: x-host, value: patched}}]}}
        """)  # noqa: E501 - as people write them
    answer = await client.answer(patches, extension("a", lua=ADDS_HEADER % "one"))
    assert answer.headers["x-patched"] == "yes"
    assert answer.headers["x-host"] == "patched"
    assert answer.headers["x-script"] == "one"
