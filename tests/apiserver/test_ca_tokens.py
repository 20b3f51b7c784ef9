"""Tokens of a real API server, shown to the real CA: who is nobody gets nothing."""

import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from libs.kube import tokens
from libs.kube.client import Client
from libs.model.ids import SpiffeId
from libs.pki import bundle, jwk, keys, verify
from libs.runtime.clock import SystemClock
from tests.support import kube_accounts as kube
from tests.support import kube_proxy
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import ClusterCa, cluster_ca, until
from tests.support.kubeconfig import write_kubeconfig
from tests.support.pki_ca import Metadata, bearer
from tests.support.tokens import (
    algorithm_none,
    changed,
    claims_of,
    hs256_with_the_public_key,
    joined,
)

BOB = SpiffeId("cluster.local", "shop", "bob")
CLOCK = SystemClock()
NO = "refused"


@pytest.fixture(name="folder", scope="module")
def api_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api")


@pytest.fixture(name="server", scope="module")
def api_server(folder: Path) -> Iterator[ApiServer]:
    with running(folder) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        yield client


@pytest.fixture(name="ca")
async def ca_in_it(server: ApiServer, client: Client, tmp_path: Path) -> AsyncIterator[ClusterCa]:
    config = write_kubeconfig(server, tmp_path / "config")
    async with cluster_ca(tmp_path, client, str(config)) as ca:
        yield ca


async def test_each_pod_gets_its_own_identity(ca: ClusterCa) -> None:
    for namespace, account in (("shop", "bob"), ("shop", "eve"), ("bank", "bob")):
        material = await ca.enrol(namespace, account, f"{account}-1")
        leaf = bundle.parse(material.chain)[0]
        assert verify.identity_of(leaf) == SpiffeId("cluster.local", namespace, account)


async def bad_tokens(client: Client, folder: Path) -> dict[str, Metadata]:
    """Return name → headers that prove nothing, made from real tokens."""
    bob = await kube.pod(client, "shop", "bob-1", by="bob")
    good = await kube.token(client, "shop", "bob", bound=bob)
    key: Any = load_pem_private_key((folder / "accounts.key").read_bytes(), None)
    kid = jwk.key_id(key.public_key())
    header = {"alg": "ES256", "kid": kid}
    now = CLOCK.now()
    gone = await kube.pod_token(client, "shop", "gone-1", by="bob")
    await kube.delete_pod(client, "shop", "gone-1")
    again = await kube.pod_token(client, "shop", "again-1", by="again")
    await client.request("DELETE", "/api/v1/namespaces/shop/serviceaccounts/again")
    await kube.account(client, "shop", "again")
    made: dict[str, str] = {
        "other audience": await kube.token(client, "shop", "bob", bound=bob, audiences=("x",)),
        "audience of the API server": await kube.token(
            client, "shop", "bob", bound=bob, audiences=()
        ),
        "bound to no pod": await kube.token(client, "shop", "bob"),
        "of a deleted pod": gone,
        "of a deleted and recreated account": again,
        "expired": changed(good, key, exp=int(now) - 60),
        "not valid yet": changed(good, key, nbf=int(now) + 3600),
        "of another API server": changed(good, keys.generate()),
        "another issuer": changed(good, key, iss="https://other.example"),
        "alg none": algorithm_none(good, kid),
        "HS256 with the public key": hs256_with_the_public_key(good, key.public_key(), kid),
        "zero signature": joined(header, claims_of(good), lambda _: b"\0" * 64),
        "8 KiB and one": changed(good, key, filler="x" * 8192),
        "administrator's static token": "admin-static-token",
        "not a token": "x.y.z",
        "empty": "",
    }
    headers: dict[str, Metadata] = {
        "no header": [],
        "two headers": [*bearer(good), *bearer(good)],
        "lower case scheme": [("authorization", f"bearer {good}")],
        "extra space": [("authorization", f"Bearer  {good}")],
        "in another header": [("x-authorization", f"Bearer {good}")],
        "non-ASCII": [("authorization-bin", "Bearer é".encode())],
        "forwarded certificate": [("x-forwarded-client-cert", f"By=x;URI={BOB}")],
        "identity passed on by nobody": [("seine-caller-identity", str(BOB))],
    }
    return headers | {name: bearer(token) for name, token in made.items()}


async def wrong_grants(ca: ClusterCa, folder: Path) -> tuple[list[str], set[tuple[str, str]]]:
    over = await ca.connect()
    granted, said = [], set()
    for name, metadata in (await bad_tokens(ca.client, folder)).items():
        answer = await ca.ask(metadata, over=over)
        granted += [name] if answer.chain else []
        said.add((answer.code, answer.details))
    return granted, said


async def test_tokens_that_prove_nothing_get_nothing(ca: ClusterCa, folder: Path) -> None:
    granted, said = await wrong_grants(ca, folder)
    cases = len(await bad_tokens(ca.client, folder))
    sys.stdout.write(f"tokens of a cluster: {cases} bad, wrong grants = {len(granted)}\n")
    assert granted == []
    assert said == {("UNAUTHENTICATED", "unauthenticated")}


async def test_the_negative_control_a_reader_that_asks_for_no_pod_and_no_audience(
    ca: ClusterCa, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def credulous(review: dict[str, Any], audience: str) -> tokens.Bearer:
        del audience
        user = review["status"].get("user", {})
        name = str(user.get("username", "::")).split(":")
        return tokens.Bearer(name[-2] or "shop", name[-1] or "bob", "1", "p", "1")

    monkeypatch.setattr(tokens, "read", credulous)
    monkeypatch.setattr(tokens.Reviewer, "_check_claims", lambda *_: None)
    granted, _ = await wrong_grants(ca, folder)
    sys.stdout.write(f"tokens of a cluster, check off: wrong grants = {len(granted)}\n")
    assert {"bound to no pod", "other audience"} <= set(granted)


async def test_a_good_token_with_several_audiences_is_good(ca: ClusterCa) -> None:
    pod = await kube.pod(ca.client, "shop", "several-1", by="bob")
    token = await kube.token(ca.client, "shop", "bob", bound=pod, audiences=("istio-ca", "vault"))
    assert (await ca.ask(bearer(token))).code == "OK"


async def test_how_long_a_deleted_pods_token_is_good(ca: ClusterCa) -> None:
    over = await ca.connect()
    token = await kube.pod_token(ca.client, "shop", "short-1", by="bob")
    assert (await ca.ask(bearer(token), over=over)).code == "OK"
    started = CLOCK.monotonic()
    await kube.delete_pod(ca.client, "shop", "short-1")
    while (await ca.ask(bearer(token), over=over)).code == "OK":
        assert CLOCK.monotonic() - started < 60
        await CLOCK.sleep(0.5)
    seconds = CLOCK.monotonic() - started
    sys.stdout.write(f"tokens: refused {seconds:.1f} s after the pod was deleted\n")


def is_review(request: web.Request) -> bool:
    return request.path == tokens.PATH


@pytest.fixture(name="behind")
async def ca_behind_a_proxy(
    server: ApiServer, client: Client, tmp_path: Path
) -> AsyncIterator[tuple[ClusterCa, kube_proxy.Proxy]]:
    """Run a CA that reaches its API server through something that spoils answers."""
    async with kube_proxy.running(server) as proxy:
        config = kube_proxy.write_config(proxy, tmp_path)
        async with cluster_ca(tmp_path, client, str(config)) as ca:
            await ca.enrol("shop", "bob", "bob-1")  # it signs
            yield ca, proxy


@pytest.mark.parametrize("status", [500, 429, 403, 503, None])
async def test_while_nobody_can_review_the_answer_is_later(
    status: int | None, behind: tuple[ClusterCa, kube_proxy.Proxy]
) -> None:
    ca, proxy = behind
    token = bearer(await kube.pod_token(ca.client, "shop", "later-1", by="bob"))
    over = await ca.connect()
    if status is None:
        proxy.hang_up(is_review)
    else:
        proxy.answer(is_review, status, retry_after=1 if status == 429 else 0)
    answer = await ca.ask(token, over=over)
    assert (answer.code, answer.details, answer.chain) == ("UNAVAILABLE", "unavailable", ())
    await until(lambda: _is_granted(ca, token, over))  # the negative control: a proxy that relents


async def _is_granted(ca: ClusterCa, token: Metadata, over: grpc.aio.Channel) -> bool:
    return (await ca.ask(token, over=over)).code == "OK"


def without_audiences(review: Any) -> Any:  # noqa: ANN401  # JSON
    del review["status"]["audiences"]
    return review


def of_nobody(review: Any) -> Any:  # noqa: ANN401  # JSON
    return review | {"status": {"authenticated": True, "audiences": ["istio-ca"]}}


@pytest.mark.parametrize("change", [without_audiences, of_nobody])
async def test_a_review_that_says_too_little_is_no_review(
    change: kube_proxy.Change, behind: tuple[ClusterCa, kube_proxy.Proxy]
) -> None:
    ca, proxy = behind
    token = bearer(await kube.pod_token(ca.client, "shop", "later-1", by="bob"))
    over = await ca.connect()
    proxy.change(is_review, change)
    assert (await ca.ask(token, over=over)).code == "UNAUTHENTICATED"
    await until(lambda: _is_granted(ca, token, over))
