"""Modules out of images, from a registry that speaks the distribution API, honest or not."""

import asyncio
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from libs.runtime.reach import Reach
from services.agent.modules import body, fetch
from services.agent.modules.door import Door
from services.agent.modules.errors import ModuleError
from services.agent.modules.fetch import Fetched, fetch_module
from tests.support import registry, wasm_module
from tests.support.behaviour.outside import server_context
from tests.support.certificates import TestAuthority
from tests.support.registry import Registry, docker_config

DOOR = Door(Reach(loopback=True))
MODULE = wasm_module.module()
DIGEST = hashlib.sha256(MODULE).hexdigest()
USERS = {"ann": "secret word"}


async def pulled(
    found: Registry,
    name: str,
    folder: Path,
    *,
    door: Door = DOOR,
    sha256: str = "",
    secret: bytes = b"",
) -> Fetched:
    """Fetch a module of a registry, and look at what was written."""
    into = folder / "module"
    url = f"oci://{found.host}/{name}"
    got = await fetch_module(url, into, door=door, sha256=sha256, secret=secret)
    assert into.read_bytes() == MODULE
    return got


async def refused(found: Registry, name: str, folder: Path, **more: object) -> str:
    with pytest.raises(ModuleError) as caught:
        await pulled(found, name, folder, **more)  # type: ignore[arg-type]
    return str(caught.value)


async def test_a_module_is_a_layer_of_its_own_kind_or_a_file_in_an_ordinary_image(
    tmp_path: Path,
) -> None:
    layer = registry.packed({"etc/passwd": b"root", "./a/plugin.wasm": MODULE, "z": b"z" * 5000})
    images = Registry()
    images.push_module("team/artifact", "v1", MODULE)
    images.push_image("image", "v1", (b"other", "text/plain"), (layer, registry.OCI_LAYER))
    kind = registry.DOCKER_MANIFEST
    images.push_image("docker", "latest", (layer, registry.DOCKER_LAYER), kind=kind)
    async with images.serving():
        for name in ("team/artifact:v1", "image:v1", "docker"):
            assert (await pulled(images, name, tmp_path)).sha256 == DIGEST
        assert images.asked[-2].startswith("GET /v2/docker/manifests/latest")


async def test_a_digest_may_be_of_the_module_its_manifest_or_its_index(tmp_path: Path) -> None:
    images = Registry()
    image = images.push_module("a", "v1", MODULE)
    other = images.push_image("a", "", (b"x", "text/plain"))
    index = images.push_index("a", "many", (other, "linux", "arm64"), (image, "wasi", "wasm"))
    async with images.serving():
        for name in ("a:v1", f"a@{image}", "a:many", f"a:many@{index}"):
            got = await pulled(images, name, tmp_path)
            for digest in (got.sha256, *got.known_as):
                await pulled(images, name, tmp_path, sha256=digest)
        assert got.known_as == {one.removeprefix("sha256:") for one in (image, index)}
        said = await refused(images, "a:v1", tmp_path, sha256="0" * 64)
        assert said.endswith(f"not {'0' * 64}")


async def test_an_index_without_a_module_for_us_is_refused(tmp_path: Path) -> None:
    images = Registry()
    image = images.push_module("a", "v1", MODULE)
    images.push_index("a", "usual", (image, "linux", "arm64"), (image, "linux", "amd64"))
    images.push_index("a", "one", (image, "plan9", "mips"))
    images.push_index("a", "none", (image, "linux", "arm64"), (image, "linux", "s390x"))
    async with images.serving():
        await pulled(images, "a:usual", tmp_path)
        await pulled(images, "a:one", tmp_path)
        assert "several platforms" in await refused(images, "a:none", tmp_path)


async def test_what_lies_under_a_digest_and_is_something_else_is_refused(tmp_path: Path) -> None:
    images = Registry()
    image = images.push_module("a", "v1", MODULE)
    images.swap("a", registry.digest_of(MODULE), MODULE + b"\0")
    other = images.push_module("b", "v1", MODULE)
    images.swap("b", other, json.dumps({"layers": []}).encode())
    async with images.serving():
        assert "is another" in await refused(images, f"a@{image}", tmp_path)
        assert "is another" in await refused(images, f"b@{other}", tmp_path)


_PART = '{"digest": "x", "size": 1}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[" * 100_000, "cannot be read"),
        ("{}", "has no layers"),
        (f'{{"layers": [{_PART}], "manifests": [{_PART}]}}', "an index besides"),
        ('{"layers": [{"digest": "../x", "size": 1, "mediaType": "application/wasm"}]}', "no sha"),
        ('{"manifests": [{"digest": "sha256:../../x", "size": 1}]}', "no sha256"),
        ('{"layers": [{"digest": "x", "size": 1, "mediaType": "text/html"}]}', "text/html"),
        (" " * (1024 * 1024 + 1), "more than"),
    ],
)
async def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str, said: str) -> None:
    images = Registry()
    images.push("a", "v1", content.encode(), registry.OCI_MANIFEST)
    async with images.serving():
        assert said in await refused(images, "a:v1", tmp_path)


async def test_layers_without_a_module_or_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(body, "MAX_BYTES", 100_000)
    good = registry.packed({"plugin.wasm": MODULE})
    layers = {
        "nothing": (registry.packed({"other.wasm": MODULE}), "no plugin.wasm"),
        "text": (registry.packed({"plugin.wasm": b"<html>"}), "no module"),
        "bomb": (registry.packed({"a": bytes(10_000_000), "plugin.wasm": MODULE}), "longer"),
        "broken": (gzip.compress(gzip.decompress(good)[:600]), "breaks off"),
        "cut": (good[:-9], "breaks off"),
        "page": (gzip.compress(b"<html>" * 200), "no tar archive"),
    }
    images = Registry()
    for name, (layer, _) in layers.items():
        images.push_image(name, "v1", (layer, registry.OCI_LAYER))
    images.push_module("long", "v1", MODULE + bytes(100_001))
    async with images.serving():
        for name, (_, said) in layers.items():
            assert said in await refused(images, f"{name}:v1", tmp_path)
        assert "longer" in await refused(images, "long:v1", tmp_path)
    assert (tmp_path / "module").stat().st_size <= 100_000 + 256 * 1024


async def test_a_registry_says_what_it_has_not(tmp_path: Path) -> None:
    images = Registry()
    async with images.serving():
        assert "answered 404" in await refused(images, "a:v1", tmp_path)


async def test_tokens_are_bought_with_what_the_secret_says_of_this_registry(tmp_path: Path) -> None:
    images = Registry(users=USERS)
    images.push_module("team/a", "v1", MODULE)
    async with images.serving():
        good = docker_config(images.host, username="ann", password="secret word")
        await pulled(images, "team/a:v1", tmp_path, secret=good)
        assert images.asked == [
            "GET /v2/team/a/manifests/v1",
            "GET /token as ann",
            "GET /v2/team/a/manifests/v1 as ann",
            f"GET /v2/team/a/blobs/{registry.digest_of(MODULE)} as ann",
        ]
        encoded = docker_config(f"https://{images.host}/v1/", auth="YW5uOnNlY3JldCB3b3Jk")
        await pulled(images, "team/a:v1", tmp_path, secret=encoded)
        refresh = docker_config(images.host, identitytoken="refresh-of-ann")
        await pulled(images, "team/a:v1", tmp_path, secret=refresh)
        bought = docker_config(images.host, registrytoken="token-of-ann")
        await pulled(images, "team/a:v1", tmp_path, secret=bought)


async def test_without_the_right_word_nothing_is_had(tmp_path: Path) -> None:
    images = Registry(users=USERS)
    images.push_module("a", "v1", MODULE)
    async with images.serving():
        for secret in (
            b"",
            docker_config(images.host, username="ann", password="another"),
            docker_config("registry.example.com", username="ann", password="secret word"),
            docker_config(images.host, identitytoken="refresh-of-bob"),
        ):
            assert "answered 401" in await refused(images, "a:v1", tmp_path, secret=secret)
        for broken in (
            b"null",
            b"[" * 100_000,
            b'{"auths": {"%s": {"auth": "?"}}}' % images.host.encode(),
        ):
            said = await refused(images, "a:v1", tmp_path, secret=broken)
            assert said == "the image pull Secret does not hold Docker's configuration"


async def test_a_registry_may_want_the_password_itself(tmp_path: Path) -> None:
    images = Registry(users=USERS, basic=True)
    images.push_module("a", "v1", MODULE)
    async with images.serving():
        good = docker_config(images.host, username="ann", password="secret word")
        await pulled(images, "a:v1", tmp_path, secret=good)
        assert "asks who is there" in await refused(images, "a:v1", tmp_path)


async def test_what_proves_who_is_asking_stays_with_the_registry(tmp_path: Path) -> None:
    images, store = Registry(users=USERS), Registry()
    images.push_module("a", "v1", MODULE)
    store.push_module("a", "v1", MODULE)
    async with images.serving(), store.serving():
        blob = registry.digest_of(MODULE)
        images.redirects[blob] = f"http://{store.host}/v2/a/blobs/{blob}"
        good = docker_config(images.host, username="ann", password="secret word")
        await pulled(images, "a:v1", tmp_path, secret=good)
        assert store.asked == [f"GET /v2/a/blobs/{blob}"]
        assert f"GET /v2/a/blobs/{blob} as ann" in images.asked


@pytest.mark.parametrize(
    ("realm", "said"),
    [
        ("http://169.254.169.254/token", "metadata"),
        ("file:///etc/passwd", "only http"),
        ("", "only http"),
        ("http://user@127.0.0.1/", "user or password"),
    ],
)
async def test_who_sells_tokens_is_judged_as_any_other_address(
    tmp_path: Path, realm: str, said: str
) -> None:
    images = Registry(users=USERS)
    images.push_module("a", "v1", MODULE)
    async with images.serving():
        images.realm = realm
        assert said in await refused(images, "a:v1", tmp_path)


async def test_a_registry_is_asked_in_the_clear_only_where_that_is_allowed(tmp_path: Path) -> None:
    images = Registry()
    images.push_module("a", "v1", MODULE)
    async with images.serving():
        assert "loopback" in await refused(images, "a:v1", tmp_path, door=Door(Reach()))
        name = images.host.replace("127.0.0.1", "localhost.localdomain")
        with pytest.raises(ModuleError):
            await fetch_module(f"oci://{name}/a:v1", tmp_path / "m", door=DOOR)
        assert images.asked == []


async def test_over_tls_a_registry_proves_its_name_unless_it_need_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = TestAuthority()
    certificate = authority.issue("registry", dns_names=("localhost",))
    (tmp_path / "roots.pem").write_bytes(certificate.roots)
    images = Registry(users=USERS)
    images.push_module("a", "v1", MODULE)
    async with images.serving(server_context(certificate, tmp_path)):
        named = images.host.replace("127.0.0.1", "localhost")
        images.realm = f"https://{named}/token"
        url = f"oci://{named}/a:v1"
        good = docker_config(named, username="ann", password="secret word")
        with pytest.raises(ModuleError, match="certificate verify failed"):
            await fetch_module(url, tmp_path / "m", door=DOOR, secret=good)
        assert images.asked == []
        lenient = Door(Reach(loopback=True), insecure=frozenset({named}))
        await fetch_module(url, tmp_path / "m", door=lenient, secret=good)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
        await fetch_module(url, tmp_path / "m", door=DOOR, secret=good)
        images.realm = images.realm.replace("https:", "http:")
        with pytest.raises(ModuleError, match="not sold over https"):
            await fetch_module(url, tmp_path / "m", door=DOOR, secret=good)


async def test_a_registry_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "SECONDS", 0.05)
    stop = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await stop.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1")
    try:
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(ModuleError, match="within"):
            await fetch_module(f"oci://{place}/a", tmp_path / "m", door=DOOR)
    finally:
        stop.set()
        server.close()
