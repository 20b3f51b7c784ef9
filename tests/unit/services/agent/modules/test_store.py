"""When a module is fetched, and when the one that was had is good."""

import hashlib
from pathlib import Path

import pytest

from libs.runtime.reach import Reach
from services.agent.modules import store as stores
from services.agent.modules.door import Door
from services.agent.modules.errors import ModuleError
from services.agent.modules.source import Source
from services.agent.modules.store import Store
from tests.support import wasm_module
from tests.support.registry import Registry, docker_config

DOOR = Door(Reach(loopback=True))
MODULE = wasm_module.module()
OTHER = MODULE + b"\0\1\0"  # with a section of its own
DIGEST = hashlib.sha256(MODULE).hexdigest()


async def no_time(_: float) -> None:
    return


def store(folder: Path, **more: object) -> Store:
    return Store(folder, door=DOOR, sleep=no_time, **more)  # type: ignore[arg-type]


def manifests(images: Registry) -> int:
    return sum("/manifests/" in asked for asked in images.asked)


async def test_a_tag_that_need_not_be_the_newest_is_asked_for_once(tmp_path: Path) -> None:
    images = Registry()
    images.push_module("a", "v1", MODULE)
    kept = store(tmp_path)
    async with images.serving():
        once = Source(f"oci://{images.host}/a:v1", once=True)
        first = await kept.file(once)
        images.push_module("a", "v1", OTHER)
        assert await kept.file(once) == first
        assert manifests(images) == 1
        newest = Source(once.url)
        second = await kept.file(newest)
        assert second.read_bytes() == OTHER
        assert await kept.file(newest) == second
        assert manifests(images) == 3
        assert await kept.file(once) == second  # what is there is what was had last


async def test_what_a_digest_names_is_asked_for_once(tmp_path: Path) -> None:
    images = Registry()
    image = images.push_module("a", "v1", MODULE)
    kept = store(tmp_path)
    async with images.serving():
        for source in (
            Source(f"oci://{images.host}/a@{image}"),
            Source(f"oci://{images.host}/a:v1", sha256=image.removeprefix("sha256:")),
        ):
            first = await kept.file(source)
            asked = manifests(images)
            assert await kept.file(source) == first
            assert manifests(images) == asked
        assert await kept.file(Source(f"oci://{images.host}/b:v1", sha256=DIGEST)) == first


async def test_the_last_module_goes_on_while_a_registry_is_away(tmp_path: Path) -> None:
    images = Registry()
    images.push_module("a", "v1", MODULE)
    kept = store(tmp_path)
    async with images.serving():
        source = Source(f"oci://{images.host}/a:v1")
        first = await kept.file(source)
    assert await kept.file(source) == first
    with pytest.raises(ModuleError):
        await kept.file(Source(source.url.replace("/a", "/b")))


async def test_who_names_no_secret_does_not_get_what_was_had_with_one(tmp_path: Path) -> None:
    images = Registry(users={"ann": "word"})
    images.push_module("a", "v1", MODULE)
    asked: list[str] = []

    async def secret_of(name: str) -> bytes:
        asked.append(name)
        return docker_config(images.host, username="ann", password="word")

    kept = store(tmp_path, secret_of=secret_of)
    async with images.serving():
        url = f"oci://{images.host}/a:v1"
        mine = Source(url, once=True, pull_secret="image-pull://shop/mine")
        first = await kept.file(mine)
        assert await kept.file(mine) == first
        assert asked == ["image-pull://shop/mine"]
        with pytest.raises(ModuleError, match="401"):
            await kept.file(Source(url, once=True))
        with pytest.raises(ModuleError, match="401"):
            await kept.file(Source(url, once=True, pull_secret='{"auths": {}}'))


async def test_only_so_many_addresses_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "REMEMBERED", 2)
    images = Registry()
    for name in "abc":
        images.push_module(name, "v1", MODULE)
    kept = store(tmp_path)
    async with images.serving():
        for name in "abca":
            await kept.file(Source(f"oci://{images.host}/{name}:v1", once=True))
    assert manifests(images) == 4


async def test_a_module_with_a_digest_is_fetched_once_another_one_each_time(tmp_path: Path) -> None:
    images = Registry()
    images.push_module("m", "v1", MODULE)
    blob = f"v2/m/blobs/sha256:{DIGEST}"
    kept = store(tmp_path)
    async with images.serving():
        url = f"http://{images.host}/{blob}"
        first = await kept.file(Source(url, sha256=DIGEST))
        assert await kept.file(Source(url, sha256=DIGEST)) == first
        assert len(images.asked) == 1
        for _ in range(2):
            assert await kept.file(Source(f"{url}?again")) == first
        assert len(images.asked) == 3
    assert await kept.file(Source(f"{url}?again")) == first
    assert _names(tmp_path) == [f"{DIGEST}.wasm"]


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
