"""T20: names of credentials, asked for by accounts with and without permission to read Secrets.

The permissions are RBAC of a real API server, asked by SubjectAccessReview. Whoever may not have a
key learns nothing, not even whether there is one.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret as EnvoySecret
from envoy.service.discovery.v3 import discovery_pb2

from libs.kube import access_review
from libs.kube.access_review import AccessReviewer
from libs.kube.client import Client
from libs.runtime.clock import SystemClock
from libs.xds.types import SECRET
from services.discovery import credentials
from services.discovery.credentials import by_review
from tests.support import kube_accounts as kube
from tests.support.credential_desk import (
    KEYS,
    Running,
    answer,
    key_of,
    running_desk,
    secret,
    secrets,
    world,
)
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import until

CLOCK = SystemClock()
MINE = "kubernetes://web"
ROOTS = "kubernetes://web-cacert"
NAMES = (
    MINE,
    "kubernetes://shop/web",
    ROOTS,
    "kubernetes://other/web",
    "kubernetes://other/web-cacert",
    "kubernetes-gateway://shop/web",
    "kubernetes-gateway://other/web",
    "configmap://other/web",
    "builtin://",
    "file-cert:/etc/passwd~/etc/passwd",
    "web-cacert",
    "other/web-cacert",
    "kubernetes://..%2fother/web",
    "kubernetes://OTHER/web",
    "kubernetes://shop/../other/web",
    "kubernetes://other/" + "a" * 4000,
)
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop"


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        for namespace in ("shop", "other"):
            for account in ("gateway", "web"):
                await kube.account(client, namespace, account)
        await allow(client)
        await until(lambda: _may_read(client))  # the API server learns of it a little later
        yield client


async def allow(client: Client) -> None:
    """Let the account `gateway` of the namespace `shop` read the Secrets there."""
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"]}]
    await kube.ensure(client, f"{RBAC}/roles", {"metadata": {"name": "sds"}, "rules": rules})
    binding = {
        "metadata": {"name": "sds"},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "sds"},
        "subjects": [{"kind": "ServiceAccount", "name": "gateway", "namespace": "shop"}],
    }
    await kube.ensure(client, f"{RBAC}/rolebindings", binding)


async def _may_read(client: Client) -> bool:
    question = access_review.Question(
        namespace="shop", service_account="gateway", verb="list", resource="secrets", within="shop"
    )
    return await AccessReviewer(client, clock=CLOCK).may(question)


@pytest.fixture(name="desk")
async def desk_that_asks_it(client: Client, tmp_path: Path) -> AsyncIterator[Running]:
    may = by_review(AccessReviewer(client, clock=CLOCK))
    async with running_desk(tmp_path, may) as found:
        apart = secret("shop", "web-cacert", b"KEY BESIDE ROOTS")
        found.book.publish(secrets(secret("shop"), secret("other"), apart))
        found.plane.change(world(*NAMES))
        yield found


async def keys_given(desk: Running) -> dict[tuple[str, str, str], list[str]]:
    """Return (namespace, account, name) → whose keys were in the answer, if any were."""
    found = {}
    for namespace in ("shop", "other"):
        for account in ("gateway", "web"):
            for name in NAMES:
                async with desk.asking(name, namespace=namespace, account=account) as proxy:
                    body = (await answer(proxy)).SerializeToString()
                keys = {**KEYS, "roots'": b"KEY BESIDE ROOTS"}
                if given := [owner for owner, key in keys.items() if key in body]:
                    found[namespace, account, name] = given
    return found


RIGHT = {
    ("shop", "gateway", MINE): ["shop"],
    ("shop", "gateway", "kubernetes://shop/web"): ["shop"],
}


async def test_keys_go_to_those_who_may_read_them(desk: Running) -> None:
    given = await keys_given(desk)
    wrong = {case: whose for case, whose in given.items() if RIGHT.get(case) != whose}
    cases = 4 * len(NAMES)
    sys.stdout.write(f"sds names: {cases} cases, private keys leaked = {len(wrong)}\n")
    assert wrong == {}
    assert given == RIGHT


async def test_the_negative_control_without_asking_for_permission(
    desk: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_review, "_allowed", lambda _: True)
    given = await keys_given(desk)
    wrong = {case for case, whose in given.items() if RIGHT.get(case) != whose}
    sys.stdout.write(f"sds names, permission not asked for: leaked = {len(wrong)}\n")
    assert ("shop", "web", MINE) in wrong
    assert ("other", "web", MINE) in wrong


async def test_what_is_forbidden_looks_like_what_is_absent(desk: Running) -> None:
    absent = "kubernetes://nothing"
    desk.plane.change(world(MINE, absent))
    said = []
    for name in (MINE, absent):
        async with desk.asking(name, account="web") as proxy:
            response = await answer(proxy)
        said.append(_without(response, name))
    assert said[0] == said[1]


def _without(response: discovery_pb2.DeltaDiscoveryResponse, name: str) -> str:
    response.nonce = response.system_version_info = ""
    return str(response).replace(name, "NAME")


async def test_roots_are_for_everybody_in_the_namespace_and_keys_beside_them_are_not(
    desk: Running,
) -> None:
    async with desk.asking(ROOTS, account="web") as proxy:
        response = await answer(proxy)
        body = proxy.client.bodies[SECRET][ROOTS]
        assert EnvoySecret.FromString(body).validation_context.trusted_ca.inline_bytes == b"ROOTS"
        assert b"KEY" not in response.SerializeToString()


async def test_a_permission_that_is_taken_away_takes_the_key_away(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "LOOK_AGAIN_SECONDS", 0.5)
    monkeypatch.setattr(access_review, "KEEP_ALLOWED_SECONDS", 1.0)
    may = by_review(AccessReviewer(client, clock=CLOCK))
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(running_desk(tmp_path, may))
        desk.book.publish(secrets(secret("shop")))
        desk.plane.change(world(MINE))
        proxy = await stack.enter_async_context(desk.asking(MINE, account="gateway"))
        await answer(proxy)
        assert key_of(proxy, MINE) == KEYS["shop"]
        started = CLOCK.monotonic()
        await client.request("DELETE", f"{RBAC}/rolebindings/sds")
        assert list((await answer(proxy)).removed_resources) == [MINE]
        seconds = CLOCK.monotonic() - started
    sys.stdout.write(f"sds: taken away {seconds:.1f} s after the permission, both waits at 1.5 s\n")
