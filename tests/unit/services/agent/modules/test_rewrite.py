"""Responses about extensions on their way to Envoy."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.filters.http.wasm.v3.wasm_pb2 import Wasm
from envoy.extensions.filters.network.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.wasm.v3.wasm_pb2 import Wasm as ConnectionWasm
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any
from msgspec import structs

from libs.model.extensions import Failure, Module, Pull
from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.responses import Responses
from libs.xds.types import EXTENSION, Snapshot, resource_set
from services.agent.modules.errors import ModuleError
from services.agent.modules.interposer import interposed
from services.agent.modules.rewrite import LETS_THROUGH, rewritten
from services.agent.modules.source import Source
from services.agent.streams.messages import pack
from tests.support import scopes
from tests.support.mesh import extension

FILE = Path("/modules/abc.wasm")


def response(module: Module | None, lua: str = "") -> bytes:
    """Return what our control plane sends of an extension."""
    row = extension("m", module=module, lua=lua)
    made = resource_set(EXTENSION, scopes.resources(EXTENSION, row).values())
    session = DeltaSession(Responses())
    session.on_snapshot(Snapshot({EXTENSION: made}), 1)
    asked = discovery_pb2.DeltaDiscoveryRequest(
        type_url=EXTENSION, resource_names_subscribe=list(made.resources)
    )
    (body,) = session.on_request(asked)
    return body


def config(body: bytes) -> TypedExtensionConfig:
    (item,) = discovery_pb2.DeltaDiscoveryResponse.FromString(body).resources
    return TypedExtensionConfig.FromString(item.resource.value)


async def found(source: Source) -> Path:
    assert source == Source("https://example.com/m.wasm", "ab")
    return FILE


async def nothing(source: Source) -> Path:
    del source
    message = "status 404"
    raise ModuleError(message)


MODULE = Module(url="https://example.com/m.wasm", sha256="ab", config=b'{"a":1}', name="root")


async def test_a_file_stands_where_an_address_stood_and_all_else_is_kept() -> None:
    before = response(MODULE)
    after = config(await rewritten(before, delta=True, file_of=found))
    wasm, was = Wasm(), Wasm()
    assert after.typed_config.Unpack(wasm)
    assert config(before).typed_config.Unpack(was)
    assert wasm.config.vm_config.code.local.filename == str(FILE)
    was.config.vm_config.code.CopyFrom(wasm.config.vm_config.code)
    assert wasm == was
    assert wasm.config.root_id == "root"


async def test_what_is_for_the_agent_is_no_variable_of_the_module() -> None:
    module = Module(
        url="oci://r.example.com/m:v1",
        environment={"LEVEL": "3", "ISTIO_META_WASM_IMAGE_PULL_SECRET": "image-pull://other/x"},
        pull=Pull.ONCE,
        generation=7,
        pull_secret="shop/mine",
    )
    asked: list[Source] = []

    async def file_of(source: Source) -> Path:
        asked.append(source)
        return FILE

    wasm = Wasm()
    rest = config(await rewritten(response(module), delta=True, file_of=file_of))
    assert rest.typed_config.Unpack(wasm)
    assert dict(wasm.config.vm_config.environment_variables.key_values) == {"LEVEL": "3"}
    assert asked == [Source(module.url, once=True, pull_secret="image-pull://shop/mine")]
    bare = Module(url=module.url, pull=Pull.ONCE)
    rest = config(await rewritten(response(bare), delta=True, file_of=file_of))
    assert rest.typed_config.Unpack(wasm)
    assert not wasm.config.vm_config.HasField("environment_variables")


async def test_a_module_that_is_nowhere_is_skipped_if_it_may_be() -> None:
    body = response(Module(url="https://example.com/m.wasm", failure=Failure.OPEN))
    after = config(await rewritten(body, delta=True, file_of=nothing))
    assert after.typed_config.type_url == LETS_THROUGH
    assert after.typed_config.value == b""


async def test_so_is_one_of_connections_with_a_filter_that_envoy_takes() -> None:
    module = Module(url="https://example.com/m.wasm", connections=True, failure=Failure.OPEN)
    after = config(await rewritten(response(module), delta=True, file_of=nothing))
    rules = RBAC()
    assert after.typed_config.Unpack(rules)
    assert rules.stat_prefix
    assert not rules.HasField("rules")


async def test_modules_of_connections_are_fetched_as_well() -> None:
    module = structs.replace(MODULE, connections=True)
    after = config(await rewritten(response(module), delta=True, file_of=found))
    wasm = ConnectionWasm()
    assert after.typed_config.Unpack(wasm)
    assert wasm.config.vm_config.code.local.filename == str(FILE)


@pytest.mark.parametrize("failure", [Failure.CLOSE, Failure.RELOAD])
async def test_any_other_module_that_is_nowhere_is_refused_in_words(failure: Failure) -> None:
    body = response(Module(url="https://example.com/m.wasm", failure=failure))
    after = config(await rewritten(body, delta=True, file_of=nothing))
    assert after.name == "module https://example.com/m.wasm: status 404"


async def test_and_so_it_is_where_all_is_sent_anew() -> None:
    made = config(response(MODULE))
    whole = discovery_pb2.DiscoveryResponse(type_url=EXTENSION)
    whole.resources.add().Pack(made)
    after = await rewritten(whole.SerializeToString(), delta=False, file_of=nothing)
    (item,) = discovery_pb2.DiscoveryResponse.FromString(after).resources
    named, wasm = TypedExtensionConfig(), Wasm()
    assert item.Unpack(named)
    assert named.name == made.name
    assert named.typed_config.Unpack(wasm)
    said = wasm.config.vm_config.code.local.filename
    assert said == "/not fetched/module https://example.com/m.wasm: status 404"


async def test_scripts_and_what_cannot_be_read_stay_as_they_are() -> None:
    for body in (response(None, lua="x"), b"\xff\xff", response(Module(url="file:///m.wasm"))):
        assert await rewritten(body, delta=True, file_of=nothing) == body


async def test_what_envoy_would_refuse_does_not_reach_it() -> None:
    async def refuses(configs: Sequence[Any]) -> list[str]:
        return ["it is bad\n"] * len(configs)

    for body in (response(MODULE), response(None, lua="error('x')")):
        after = config(await rewritten(body, delta=True, file_of=found, refusals=refuses))
        assert after.name == f"{config(body).name}: it is bad?"
    may_be_skipped = response(structs.replace(MODULE, failure=Failure.OPEN))
    after = config(await rewritten(may_be_skipped, delta=True, file_of=found, refusals=refuses))
    assert after.name == config(may_be_skipped).name
    assert after.typed_config.type_url == LETS_THROUGH


async def test_nobody_is_asked_about_what_envoy_does_not_get() -> None:
    async def refuses(configs: Sequence[Any]) -> list[str]:
        assert not configs
        return []

    after = await rewritten(response(MODULE), delta=True, file_of=nothing, refusals=refuses)
    assert config(after).name == "module https://example.com/m.wasm: status 404"


async def test_other_messages_do_not_wait_for_a_module() -> None:
    written: list[bytes] = []
    go = asyncio.Event()
    done = asyncio.Event()

    async def write(data: bytes) -> None:
        written.append(data)
        if b"".join(written).endswith(b"rewritten"):
            done.set()

    async def slow(message: bytes) -> bytes:
        del message
        await go.wait()
        return b"rewritten"

    other = pack(b"another message")
    async with interposed(write, slow) as envoy:
        await envoy.write(pack(response(MODULE)) + other[:7])
        go.set()
        for _ in range(5):
            await asyncio.sleep(0)
        assert b"".join(written) == other[:7]  # never into the middle of a message
        await envoy.write(other[7:])
        await asyncio.wait_for(done.wait(), 60)
    assert b"".join(written) == other + pack(b"rewritten")
