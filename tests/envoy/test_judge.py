"""A real Envoy says which extensions it would refuse, before a proxy gets them."""

from pathlib import Path

import pytest
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from google.protobuf.any_pb2 import Any

from libs.model.extensions import Failure, Module
from libs.xds.types import EXTENSION
from services.agent.envoy import binary
from services.agent.modules import judge as judges
from services.agent.modules.judge import Judge
from tests.support import scopes, wasm_module
from tests.support.mesh import extension

NODE = {"id": "sidecar~10.0.0.1~a.shop~shop.svc.cluster.local", "cluster": "a", "metadata": {}}
GOOD = wasm_module.module()


def config(file: Path | None = None, *, lua: str = "", connections: bool = False) -> Any:
    """Return an extension's configuration, as the agent has it."""
    module = Module(url=f"file://{file}", connections=connections, failure=Failure.CLOSE)
    row = extension("m", module=module if file else None, lua=lua)
    (made,) = scopes.resources(EXTENSION, row).values()
    found = Any()
    found.CopyFrom(TypedExtensionConfig.FromString(made.body).typed_config)
    return found


def judge(folder: Path, *, free: int = 2**40, program: str = "") -> Judge:
    """Return a judge that finds so much memory free."""
    return Judge(lambda: binary(program), NODE, folder, free=lambda: free)


def written(folder: Path, name: str, body: bytes) -> Path:
    """Write a module and return its file."""
    path = folder / f"{name}.wasm"
    path.write_bytes(body)
    return path


async def test_what_envoy_takes_and_what_it_refuses(tmp_path: Path) -> None:
    files = {
        "good": (GOOD, ""),
        "cut": (GOOD[:-20], "Failed to parse corrupted Wasm module"),
        "other": (GOOD.replace(b"abi_version", b"abi_versiom"), "ABI version"),
        "import": (GOOD.replace(b"proxy_add_h", b"proxy_ada_h"), "missing import: env.proxy_ada_h"),
        "start": (wasm_module.failing_at_start(), "proxy_on_vm_start failed"),
    }
    cases = [
        (config(written(tmp_path, name, body)), words) for name, (body, words) in files.items()
    ]
    connections = written(tmp_path, "connections", wasm_module.connection_module())
    cases += [
        (config(connections, connections=True), ""),
        (config(lua="function envoy_on_request(handle) end"), ""),
        (config(lua="local x = nil\nx.y = 1"), "attempt to index"),
        (config(tmp_path / "nowhere.wasm"), "nowhere.wasm"),
    ]
    said = await judge(tmp_path / "trial").refusals([one for one, _ in cases])
    for (_, words), reason in zip(cases, said, strict=True):
        assert bool(reason) is bool(words), (words, reason)
        assert words in reason
    assert list((tmp_path / "trial").iterdir()) == []


@pytest.mark.parametrize("number", [1, 2])
async def test_what_never_ends_is_refused(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "CPU_SECONDS", 1)
    monkeypatch.setattr(judges, "SECONDS", 300.0)
    loop = wasm_module.failing_at_start(wasm_module.NEVER_ENDS)
    cases = [config(lua="while true do end"), config(written(tmp_path, "loop", loop))]
    said = await judge(tmp_path).refusals(cases[:number])
    assert all("does not come to an end" in one for one in said)


async def test_a_module_that_calls_services_may_fail_where_there_are_none(tmp_path: Path) -> None:
    file = written(tmp_path, "m", wasm_module.failing_at_start(calls_out=True))
    assert await judge(tmp_path).refusals([config(file)]) == [""]


async def test_nobody_is_asked_without_memory_or_about_large_modules(tmp_path: Path) -> None:
    file = written(tmp_path, "m", GOOD[:-20])
    assert await judge(tmp_path, free=2**25).refusals([config(file)]) == [""]
    large = written(tmp_path, "large", GOOD[:-20] + bytes(judges.MAX_MODULE))
    assert await judge(tmp_path).refusals([config(large)]) == [""]
    assert await judge(tmp_path).refusals([config(file)]) != [""]


async def test_what_was_said_is_remembered(tmp_path: Path) -> None:
    asked = judge(tmp_path)
    wrong, right = config(lua="error('x')"), config(lua="local x = 1")
    first = await asked.refusals([wrong, right])
    assert [bool(one) for one in first] == [True, False]
    asked._binary = lambda: "/nowhere/envoy"  # nobody can be asked any more
    assert await asked.refusals([right, wrong]) == first[::-1]
    assert await asked.refusals([config(lua="error('y')")]) == [""]
