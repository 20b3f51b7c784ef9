"""What agents rely on in a registry, by the OCI distribution specification, 1.1.

The registry of the tests has to keep to it, and so has a real one, which is tried if the machine
has the program `registry` (github.com/distribution/distribution).
"""

import asyncio
import hashlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from libs.runtime.reach import Reach
from services.agent.modules.door import Door
from services.agent.modules.errors import ModuleError
from services.agent.modules.fetch import fetch_module
from tests.support import registry, wasm_module
from tests.support.ports import free_ports
from tests.support.registry import Registry

MODULE = wasm_module.module()
DIGEST = hashlib.sha256(MODULE).hexdigest()
LAYERS = {
    "artifact": (MODULE, registry.MODULE_LAYER),
    "image": (registry.packed({"plugin.wasm": MODULE}), registry.OCI_LAYER),
}
_CONFIG = b"{}"
_REAL = """
version: 0.1
storage: {{filesystem: {{rootdirectory: "{folder}"}}}}
http: {{addr: "{host}"}}
"""


def manifest(kind: str) -> bytes:
    body, media = LAYERS[kind]
    config = {"digest": registry.digest_of(_CONFIG), "size": len(_CONFIG)}
    layer = {"mediaType": media, "digest": registry.digest_of(body), "size": len(body)}
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": registry.OCI_MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **config},
            "layers": [layer],
        }
    ).encode()


@asynccontextmanager
async def ours(_: Path) -> AsyncIterator[str]:
    found = Registry()
    for kind, (body, media) in LAYERS.items():
        found.push_blob(kind, _CONFIG, "")
        found.push_blob(kind, body, media)
        found.push(kind, "v1", manifest(kind), registry.OCI_MANIFEST)
    async with found.serving():
        yield found.host


@asynccontextmanager
async def real(folder: Path) -> AsyncIterator[str]:
    program = shutil.which("registry")
    if program is None:
        pytest.skip("no program `registry` on this machine")
    host = f"127.0.0.1:{free_ports(1)[0]}"
    config = folder / "registry.yml"
    config.write_text(_REAL.format(folder=folder, host=host))
    with (folder / "registry.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            program, "serve", str(config), stdout=log, stderr=subprocess.STDOUT
        )
        try:
            await _push_all(f"http://{host}/v2")
            yield host
        finally:
            process.kill()
            await process.wait()


async def _push_all(base: str) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while not await _answers(session, f"{base}/"):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)
        for kind, (body, _) in LAYERS.items():
            for blob in (_CONFIG, body):
                await _push(session, f"{base}/{kind}/blobs/uploads/", blob)
            headers = {"Content-Type": registry.OCI_MANIFEST}
            url = f"{base}/{kind}/manifests/v1"
            async with session.put(url, data=manifest(kind), headers=headers) as answer:
                assert answer.status == 201, await answer.text()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def _push(session: aiohttp.ClientSession, url: str, blob: bytes) -> None:
    async with session.post(url) as begun:
        place = begun.headers["Location"]
    between = "&" if "?" in place else "?"
    target = f"{place}{between}digest={registry.digest_of(blob)}"
    async with session.put(target, data=blob) as answer:
        assert answer.status == 201, await answer.text()


Ask = Callable[[str], Awaitable[tuple[int, dict[str, str], bytes]]]


@pytest_asyncio.fixture(params=[ours, real], ids=["ours", "real"])
async def host(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    async with request.param(tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def ask(host: str) -> AsyncIterator[Ask]:
    """Ask the registry; return status, headers and body."""
    accept = {"Accept": registry.OCI_MANIFEST}
    async with aiohttp.ClientSession(headers=accept) as session:

        async def asked(path: str) -> tuple[int, dict[str, str], bytes]:
            async with session.get(f"http://{host}/v2/{path}") as answer:
                return answer.status, dict(answer.headers), await answer.read()

        yield asked


async def test_it_says_that_it_is_one(ask: Ask) -> None:
    assert (await ask(""))[0] == 200


async def test_a_manifest_is_found_by_its_tag_and_by_its_digest(ask: Ask) -> None:
    body = manifest("artifact")
    for name in ("v1", registry.digest_of(body)):
        status, headers, content = await ask(f"artifact/manifests/{name}")
        assert (status, content) == (200, body)
        assert headers["Content-Type"] == registry.OCI_MANIFEST
        assert headers["Docker-Content-Digest"] == registry.digest_of(body)


async def test_a_blob_is_found_by_its_digest(ask: Ask) -> None:
    status, _, content = await ask(f"artifact/blobs/sha256:{DIGEST}")
    assert (status, content) == (200, MODULE)


@pytest.mark.parametrize(
    ("path", "codes"),
    [
        ("artifact/manifests/v2", {"MANIFEST_UNKNOWN"}),
        (f"artifact/manifests/sha256:{'0' * 64}", {"MANIFEST_UNKNOWN"}),
        (f"artifact/blobs/sha256:{'0' * 64}", {"BLOB_UNKNOWN"}),
        ("nothing/manifests/v1", {"MANIFEST_UNKNOWN", "NAME_UNKNOWN"}),
    ],
)
async def test_what_is_not_there_is_said_in_a_code(ask: Ask, path: str, codes: set[str]) -> None:
    status, _, content = await ask(path)
    assert status == 404
    assert json.loads(content)["errors"][0]["code"] in codes


async def test_an_agent_gets_modules_from_it(host: str, tmp_path: Path) -> None:
    door = Door(Reach(loopback=True))
    for kind in LAYERS:
        into = tmp_path / kind
        for name in (f"{kind}:v1", f"{kind}@{registry.digest_of(manifest(kind))}"):
            found = await fetch_module(f"oci://{host}/{name}", into, door=door)
            assert found.sha256 == DIGEST
    with pytest.raises(ModuleError, match="answered 404"):
        await fetch_module(f"oci://{host}/artifact:v2", tmp_path / "none", door=door)
