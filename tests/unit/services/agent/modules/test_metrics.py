"""What is counted of modules, under Istio's names and with its labels."""

import hashlib
from pathlib import Path

import pytest

from libs.runtime.reach import Reach
from services.agent.metrics import REGISTRY
from services.agent.modules.door import Door
from services.agent.modules.errors import ModuleError
from services.agent.modules.rewrite import rewritten
from services.agent.modules.source import Source
from services.agent.modules.store import Store
from tests.support import wasm_module
from tests.support.registry import Registry
from tests.unit.services.agent.modules import test_rewrite

MODULE = wasm_module.module()
DIGEST = hashlib.sha256(MODULE).hexdigest()


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"istio_agent_wasm_{name}", labels) or 0.0


async def no_time(_: float) -> None:
    return


async def test_fetches_and_looks_are_counted(tmp_path: Path) -> None:
    results = ("success", "download_failure", "checksum_mismatched")
    fetches = {it: value("remote_fetch_count", result=it) for it in results}
    looks = {it: value("cache_lookup_count", hit=it) for it in ("true", "false")}
    images = Registry()
    images.push_module("m", "v1", MODULE)
    kept = Store(tmp_path, door=Door(Reach(loopback=True)), sleep=no_time)
    async with images.serving():
        url = f"http://{images.host}/v2/m/blobs/sha256:{DIGEST}"
        for _ in range(2):
            await kept.file(Source(url, sha256=DIGEST))
        for wrong in (Source(url, sha256="0" * 64), Source(f"http://{images.host}/nothing")):
            with pytest.raises(ModuleError):
                await kept.file(wrong)
    moved = {it: value("remote_fetch_count", result=it) - fetches[it] for it in results}
    assert moved == {"success": 1, "checksum_mismatched": 2, "download_failure": 2}
    assert value("cache_lookup_count", hit="true") == looks["true"] + 1
    assert value("cache_lookup_count", hit="false") == looks["false"] + 3
    assert value("cache_entries") == 1


async def test_configurations_are_counted_by_what_became_of_them() -> None:
    results = ("success", "fetch_failure")
    before = {it: value("config_conversion_count", result=it) for it in results}
    timed = value("config_conversion_duration_count")
    body = test_rewrite.response(test_rewrite.MODULE)
    await rewritten(body, delta=True, file_of=test_rewrite.found)
    await rewritten(body, delta=True, file_of=test_rewrite.nothing)
    assert {it: value("config_conversion_count", result=it) - before[it] for it in results} == {
        "success": 1,
        "fetch_failure": 1,
    }
    assert value("config_conversion_duration_count") == timed + 2
