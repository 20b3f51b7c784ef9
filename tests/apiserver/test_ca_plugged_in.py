"""Authorities that are plugged in: recorded when they sign, followed when they are trusted."""

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client import REGISTRY

from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.pki import authority, bundle, verify
from libs.rpc import tls
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.ca.secrets import IN_USE, PLUGGED_IN, REVOKED, USE_NOW
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import (
    SECRETS,
    SYSTEM,
    ClusterCa,
    cluster_ca,
    fresh,
    generation_is,
    has_roots,
    is_there,
    own_roots,
    plug_in,
    rotate,
    secret,
    until,
)
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pki import cert_manager_files, intermediate
from tests.support.ports import free_ports

CLOCK = SystemClock()
MERGE = "application/merge-patch+json"


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await fresh(client)
        yield client


@pytest.fixture(name="config")
def kubeconfig_of_it(server: ApiServer, tmp_path: Path) -> str:
    return str(write_kubeconfig(server, tmp_path / "config"))


async def test_a_plugged_in_authority_signs_and_is_followed(
    client: Client, config: str, tmp_path: Path
) -> None:
    now = CLOCK.now()
    root = authority.generate("plugged", now=now)
    first = intermediate(root, period=(now - 60, now + 86_400 * 30))
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(first), "POST")
    async with cluster_ca(tmp_path, client, config, roots=root.root_pem, confirm_seconds=3) as ca:
        material = await ca.enrol("shop", "bob", "bob-1")
        assert bundle.parse(material.chain)[1] == first.certificate
        assert material.roots == root.root_pem
        await until(lambda: has_roots(client, "shop", root.root_pem))
        second = intermediate(root, organization="second", period=(now - 60, now + 86_400 * 30))
        cert_manager_files(second, tmp_path / "cm")
        content = {path.name: path.read_bytes() for path in (tmp_path / "cm").iterdir()}
        await plug_in(client, content, "PUT")
        seconds = await until(lambda: _signed_by(ca, second))
        stranger = authority.generate("stranger", now=now)
        await plug_in(client, authority.to_content(stranger), "PUT")
        await CLOCK.sleep(2.5)
        assert await _signed_by(ca, second)  # nobody trusts the stranger yet
    sys.stdout.write(f"cacerts: a new intermediate signs after {seconds:.1f} s\n")
    with pytest.raises(NotFoundError):
        await secret(client)


@pytest.mark.timeout(400)
async def test_a_list_of_revoked_certificates_is_said_to_have_no_effect(
    client: Client, config: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = CLOCK.now()
    root = authority.generate("plugged", now=now)
    content = authority.to_content(intermediate(root, period=(now - 60, now + 86_400 * 30)))
    await kube.namespace(client, SYSTEM)
    await plug_in(client, {**content, REVOKED: b"a list"}, "POST")
    async with cluster_ca(tmp_path, client, config, roots=root.root_pem):
        assert _ignored() == 1
        said = [one for one in caplog.records if getattr(one, "key", "") == REVOKED]
        assert len(said) == 1, "once, not each time that the Secret is read"
        await plug_in(client, dict(content), "PUT")
        await until(_none_ignored)


async def test_a_ca_that_restarts_in_the_middle_of_a_rotation_of_what_is_plugged_in_goes_on(
    client: Client, config: str, tmp_path: Path
) -> None:
    """Nobody who was there before loses trust, and the waiting does not begin again."""
    now = CLOCK.now()
    old, new = (authority.generate(name, now=now) for name in ("old", "new"))
    both = old.root_pem + new.root_pem
    waits = {"certificate_seconds": 12, "confirm_seconds": 1}
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(old), "POST")
    async with cluster_ca(tmp_path, client, config, roots=both, **waits) as ca:
        first = await ca.enrol("shop", "bob", "bob-1")
        await plug_in(client, authority.to_content(old) | {"root-cert.pem": both}, "PUT")
        await until(lambda: has_roots(client, "shop", both))
        published = CLOCK.monotonic()
        await plug_in(client, authority.to_content(new) | {"root-cert.pem": both}, "PUT")
        since = await _since(client, new)
    # The old signer is nowhere but in what the CA has recorded.
    async with cluster_ca(tmp_path, client, config, roots=both, **waits) as ca:
        again = await ca.enrol("shop", "bob", "bob-1")
        assert since == await _since(client, new) > now
        signs_on = CLOCK.monotonic() - published < waits["certificate_seconds"]
        assert not signs_on or again.roots == both
        assert not signs_on or _issuer(again) == _issuer(first)
        await until(lambda: _signed_with(ca, new), 90)
        seconds = CLOCK.monotonic() - published
        assert has_no_gap(await ca.enrol("shop", "bob", "bob-1"), both)
    sys.stdout.write(
        f"cacerts: the new root signs {seconds:.1f} s after it was published, with a restart in "
        "between (proof by age, 14 s)\n"
    )
    assert seconds >= waits["certificate_seconds"]


async def _since(client: Client, root: authority.Authority) -> float:
    """Return since when a root is in the bundle, as the CA has recorded it."""
    record = base64.b64decode((await secret(client, IN_USE))["data"]["in-use.json"])
    return float(json.loads(record)["since"][authority.identifier(root.certificate)])


def _issuer(material: tls.Material) -> str:
    leaf = bundle.parse(material.chain)[0]
    return str(leaf.issuer.rfc4514_string())


def has_no_gap(material: tls.Material, roots: bytes) -> bool:
    verify.chain(bundle.parse(material.chain), bundle.parse(roots), now=CLOCK.now())
    return True


async def _signed_with(ca: ClusterCa, by: authority.Authority) -> bool:
    return _issuer(await ca.enrol("shop", "bob", "bob-1")) == str(
        by.certificate.subject.rfc4514_string()
    )


async def test_a_stranger_who_is_plugged_in_signs_neither_after_a_restart_nor_unless_told(
    client: Client, config: str, tmp_path: Path
) -> None:
    now = CLOCK.now()
    old, stranger = (authority.generate(name, now=now) for name in ("old", "stranger"))
    both = old.root_pem + stranger.root_pem  # what this test's client believes
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(old), "POST")
    async with cluster_ca(tmp_path, client, config, roots=both, confirm_seconds=3):
        await until(lambda: is_there(client, IN_USE))
        await plug_in(client, authority.to_content(stranger), "PUT")
    async with cluster_ca(tmp_path, client, config, roots=both, confirm_seconds=3) as ca:
        assert await _signed_with(ca, old)
        await client.request("DELETE", f"{SECRETS}/{IN_USE}")
        await until(lambda: is_there(client, IN_USE))  # the leader records it again
        assert await _signed_with(ca, old)
        word = {USE_NOW: authority.identifier(stranger.certificate)}
        body = {"metadata": {"annotations": word}}
        await client.request("PATCH", f"{SECRETS}/{PLUGGED_IN}", body=body, content_type=MERGE)
        await until(lambda: _signed_with(ca, stranger))


async def test_an_authority_plugged_in_beside_our_own_root_waits_also_over_a_restart(
    client: Client, config: str, tmp_path: Path
) -> None:
    stranger = authority.generate("stranger", now=CLOCK.now())
    async with cluster_ca(tmp_path, client, config, confirm_seconds=3) as ca:
        own = await own_roots(client)
        await plug_in(client, authority.to_content(stranger), "POST")
        await until(lambda: is_there(client, IN_USE))
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == own
    async with cluster_ca(tmp_path, client, config, roots=own, confirm_seconds=3) as ca:
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == own
        await client.request("DELETE", f"{SECRETS}/{PLUGGED_IN}")
    async with cluster_ca(tmp_path, client, config, roots=own, confirm_seconds=1) as ca:
        await rotate(client, "now")  # it is our own root again, and goes on as such
        await until(lambda: generation_is(client, 2))
        assert (await ca.enrol("shop", "bob", "bob-1")).roots == await own_roots(client)


async def _signed_by(ca: ClusterCa, by: authority.Authority) -> bool:
    material = await ca.enrol("shop", "bob", "bob-1")
    return bundle.parse(material.chain)[1] == by.certificate


BROKEN: Mapping[str, tuple[Mapping[str, bytes | None], str]] = {
    "no record": ({"in-use.json": None}, "in-use.json is missing"),
    "half of one": ({"in-use.json": b'{"generation": 1'}, "in-use.json cannot be read: "),
    "a word for a number": ({"in-use.json": b'{"generation": "x"}'}, "`$.generation`"),
    "of other roots": ({"in-use.json": b'{"since": {"ab": 0}}'}, "of other roots: $.since"),
    "no key": ({"ca-key.pem": None}, "has no ca-key.pem"),
    "no certificate": ({"ca-cert.pem": b"nothing"}, "cannot load the signing certificate"),
}


@pytest.mark.parametrize("how", BROKEN)
async def test_a_record_that_cannot_be_read_is_waited_for_and_nothing_else_signs(
    client: Client, config: str, tmp_path: Path, how: str
) -> None:
    """Somebody broke it while no CA ran, and what is plugged in is another by now."""
    change, reason = BROKEN[how]
    old, stranger = await _replaced(client, config, tmp_path)
    both = old.root_pem + stranger.root_pem
    good = (await secret(client, IN_USE))["data"]
    await _change(client, change)
    (port,) = free_ports(1)
    own = {"monitoring_port": port, "roots": both}
    async with starting(client, config, tmp_path, **own) as begun:
        said = await _waits(port, IN_USE)
        assert reason in said
        assert not begun.done()
        await _change(client, {key: base64.b64decode(value) for key, value in good.items()})
        assert await _signed_with(await begun, old)


async def test_a_record_that_is_deleted_leaves_the_word_to_what_is_plugged_in(
    client: Client, config: str, tmp_path: Path
) -> None:
    """The control: the operator has said so, and the stranger signs."""
    old, stranger = await _replaced(client, config, tmp_path)
    both = old.root_pem + stranger.root_pem
    await _change(client, {"in-use.json": b"{"})
    (port,) = free_ports(1)
    own = {"monitoring_port": port, "roots": both}
    async with starting(client, config, tmp_path, **own) as begun:
        await _waits(port, IN_USE)
        await client.request("DELETE", f"{SECRETS}/{IN_USE}")
        assert await _signed_with(await begun, stranger)


async def test_a_leader_that_knows_what_signs_writes_it_again_for_one_that_starts(
    client: Client, config: str, tmp_path: Path
) -> None:
    old = authority.generate("old", now=CLOCK.now())
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(old), "POST")
    own = {"roots": old.root_pem, "confirm_seconds": 6}
    (tmp_path / "second").mkdir()
    async with cluster_ca(tmp_path, client, config, **own) as first:
        await until(lambda: has_roots(client, SYSTEM, old.root_pem))  # so it leads
        await _change(client, {"in-use.json": b"{"})
        async with cluster_ca(tmp_path / "second", client, config, **own) as second:
            assert await _signed_with(second, old)
        assert await _signed_with(first, old)


async def test_what_is_plugged_in_first_and_cannot_be_read_is_waited_for(
    client: Client, config: str, tmp_path: Path
) -> None:
    good = authority.generate("good", now=CLOCK.now())
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(good) | {"ca-key.pem": b"nothing"}, "POST")
    (port,) = free_ports(1)
    own = {"monitoring_port": port, "roots": good.root_pem}
    async with starting(client, config, tmp_path, **own) as begun:
        await _waits(port, PLUGGED_IN)
        assert not await is_there(client, IN_USE)
        await plug_in(client, authority.to_content(good), "PUT")
        assert await _signed_with(await begun, good)


async def _replaced(
    client: Client, config: str, folder: Path
) -> tuple[authority.Authority, authority.Authority]:
    """Have one signed, and another plugged in since: which is a stranger to everybody."""
    old, stranger = (authority.generate(name, now=CLOCK.now()) for name in ("old", "stranger"))
    await kube.namespace(client, SYSTEM)
    await plug_in(client, authority.to_content(old), "POST")
    async with cluster_ca(folder, client, config, roots=old.root_pem):
        await until(lambda: is_there(client, IN_USE))
    await plug_in(client, authority.to_content(stranger), "PUT")
    return old, stranger


@asynccontextmanager
async def starting(
    client: Client,
    config: str,
    folder: Path,
    **changes: Any,  # noqa: ANN401
) -> AsyncIterator[asyncio.Future[ClusterCa]]:
    """Start a CA; yields what will be it once it has begun."""
    begun: asyncio.Future[ClusterCa] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        async with cluster_ca(folder, client, config, **changes) as ca:
            begun.set_result(ca)
            await asyncio.Event().wait()

    async with background(run()), asyncio.timeout(90):
        yield begun


async def _waits(port: int, name: str) -> str:
    """Return what /ready says once it names a Secret."""
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        while True:
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                    said = await answer.text()
                    if answer.status == 503 and f"the Secret {name} cannot be used" in said:
                        return said
            await asyncio.sleep(0.05)  # nothing tells when, but asking


async def _change(client: Client, change: Mapping[str, bytes | None]) -> None:
    """Change what the record holds; None takes a key away."""
    data = {key: value and base64.b64encode(value).decode() for key, value in change.items()}
    path = f"{SECRETS}/{IN_USE}"
    await client.request("PATCH", path, body={"data": data}, content_type=MERGE)


def _ignored() -> float | None:
    return REGISTRY.get_sample_value("seine_ca_revocation_ignored")


async def _none_ignored() -> bool:
    return _ignored() == 0
