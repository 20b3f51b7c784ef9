"""Certificates at config-push: passed on to the CA with the caller's credential, or refused."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
import pytest

from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, keys, verify
from libs.rpc import channel, tls
from libs.runtime.clock import SystemClock
from libs.xds.types import CLUSTER
from services.ca import passed_on
from services.ca.passed_on import Forwarders
from tests.support.control_plane_apps import NAME, SYSTEM, Apps, running_apps
from tests.support.pki_ca import CA_NAME, Metadata, ask, bearer
from tests.support.tokens import refused

BOB = SpiffeId("cluster.local", "shop", "bob")
REQUEST = csr.make_with_key()[1]
IDENTITY = "seine-caller-identity"


@pytest.fixture(name="apps")
async def running_control_plane(tmp_path: Path) -> AsyncIterator[Apps]:
    async with running_apps(tmp_path) as apps, apps.discovery(), apps.config_push():
        yield apps


@asynccontextmanager
async def token_port(apps: Apps) -> AsyncIterator[grpc.aio.Channel]:
    credentials = tls.trusting((apps.folder / "root.pem").read_bytes())
    address = f"127.0.0.1:{apps.push.xds}"
    async with channel.connect(address, credentials=credentials, server_name=NAME) as opened:
        yield opened


async def test_a_token_gets_its_own_certificate(apps: Apps) -> None:
    key, request = csr.make_with_key()
    async with token_port(apps) as over:
        answer = await ask(over, request, bearer(apps.token("bob")))
    leaf = bundle.parse(answer.chain[0].encode())[0]
    assert verify.identity_of(leaf) == BOB
    assert keys.spki(keys.accepted(leaf.public_key())) == keys.spki(keys.load(key).public_key())
    assert answer.chain[-1].encode() == (apps.folder / "root.pem").read_bytes()


async def test_certificates_and_configuration_at_one_address(apps: Apps) -> None:
    await apps.synced()
    async with token_port(apps) as over:
        assert (await ask(over, REQUEST, bearer(apps.token("default")))).code == "OK"
    async with apps.proxy([f"Bearer {apps.token('default')}"]) as proxy:
        await proxy.send(proxy.client.subscribe(CLUSTER))
        await proxy.until(lambda client: bool(client.versions.get(CLUSTER)))


async def test_a_certificate_renews_itself_at_the_mtls_port(apps: Apps) -> None:
    async with apps.with_certificate("bob", "shop") as over:
        answer = await ask(over, REQUEST)
        forged = await ask(over, REQUEST, [(IDENTITY, "spiffe://cluster.local/ns/shop/sa/eve")])
        with_token = await ask(over, REQUEST, bearer(apps.token("eve")))
    for each in (answer, forged, with_token):
        leaf = bundle.parse(each.chain[0].encode())[0]
        assert verify.identity_of(leaf) == BOB


async def test_tokens_that_prove_nothing_get_nothing_here_either(apps: Apps) -> None:
    now = SystemClock().now()
    cases: dict[str, Metadata] = {
        name: bearer(token)
        for name, token in refused(BOB, apps.issuer, now).items()  # type: ignore[arg-type]
    }
    good = apps.token("bob")
    cases |= {
        "no header": [],
        "two headers": [*bearer(good), *bearer(good)],
        "an identity": [(IDENTITY, str(BOB))],
        "forwarded certificate": [("x-forwarded-client-cert", f"By=x;URI={BOB}")],
    }
    async with token_port(apps) as over:
        answers = {name: await ask(over, REQUEST, it) for name, it in cases.items()}
    granted = [name for name, answer in answers.items() if answer.chain]
    sys.stdout.write(f"passed on: {len(cases)} bad credentials, wrong grants = {len(granted)}\n")
    assert granted == []
    codes = {answer.code for answer in answers.values()}
    assert codes <= {"UNAUTHENTICATED", "RESOURCE_EXHAUSTED", "UNAVAILABLE"}


async def to_the_ca(apps: Apps, account: str, namespace: str, headers: Metadata) -> list[str]:
    """Return the identities that an account gets from the CA's mTLS port with these headers."""
    address = f"127.0.0.1:{apps.ca.mtls}"
    async with apps.opened(address, CA_NAME, account, namespace) as over:
        answer = await ask(over, REQUEST, headers)
    if not answer.chain:
        return []
    return [str(verify.identity_of(bundle.parse(answer.chain[0].encode())[0]))]


CASES: dict[str, tuple[str, str, str]] = {
    "another service of ours": ("seine-discovery", SYSTEM, str(BOB)),
    "config-push of another namespace": ("seine-config-push", "shop", str(BOB)),
    "a workload": ("web", "shop", str(BOB)),
    "the CA's own identity": (
        "seine-config-push",
        SYSTEM,
        f"spiffe://cluster.local/ns/{SYSTEM}/sa/seine-ca",
    ),
    "another trust domain": ("seine-config-push", SYSTEM, "spiffe://other/ns/shop/sa/bob"),
    "escaped": ("seine-config-push", SYSTEM, "spiffe://cluster.local/ns/shop/sa/a%2fb"),
    "no identity": ("seine-config-push", SYSTEM, "bob"),
}


async def wrongly_asserted(apps: Apps) -> list[str]:
    wrong = []
    for name, (account, namespace, said) in CASES.items():
        own = f"spiffe://cluster.local/ns/{namespace}/sa/{account}"
        got = await to_the_ca(apps, account, namespace, [(IDENTITY, said)])
        wrong += [name] if set(got) - {own} else []
    return wrong


async def test_who_may_say_whose_request_it_brings(apps: Apps) -> None:
    wrong = await wrongly_asserted(apps)
    sys.stdout.write(f"identities passed on: {len(CASES)} bad, wrong grants = {len(wrong)}\n")
    assert wrong == []
    got = await to_the_ca(apps, "seine-config-push", SYSTEM, [(IDENTITY, str(BOB))])
    assert got == [str(BOB)]
    both = [(IDENTITY, str(BOB)), *bearer(apps.token("bob"))]
    assert await to_the_ca(apps, "seine-config-push", SYSTEM, both) == []


async def test_the_negative_control_a_ca_that_believes_everybody(
    apps: Apps, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Forwarders, "__contains__", lambda *_: True)
    monkeypatch.setattr(
        passed_on, "_asserted", lambda said, _: SpiffeId("cluster.local", "x", said[-3:])
    )
    wrong = await wrongly_asserted(apps)
    sys.stdout.write(f"identities passed on, checks off: wrong grants = {len(wrong)}\n")
    assert set(wrong) == set(CASES)


async def test_it_says_later_while_the_ca_is_away(tmp_path: Path) -> None:
    async with (
        running_apps(tmp_path) as apps,
        apps.discovery(),
        apps.config_push(ca_mtls_address="127.0.0.1:1"),
        token_port(apps) as over,
    ):
        answer = await ask(over, REQUEST, bearer(apps.token("bob")))
    assert answer.code == "UNAVAILABLE"
