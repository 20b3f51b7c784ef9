"""Following a collection of a real API server through everything that goes wrong on the way."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.errors import NotFoundError
from libs.kube.follow import Follower, Happening, Patience, State
from libs.runtime.backoff import Backoff
from libs.runtime.tasks import background
from tests.support.kube_accounts import client_of
from tests.support.kube_apiserver import ApiServer
from tests.support.kube_ca import until
from tests.support.kube_follow import MAPS, QUICK, Seen, following
from tests.support.kube_machine import Machine, machine
from tests.support.kube_maps import PATH, agree, change, delete, fill, put
from tests.support.kube_proxy import (
    Proxy,
    is_following_page,
    is_list,
    is_watch,
    running,
    through,
)
from tests.support.tcp_gate import gate

pytestmark = pytest.mark.timeout(300)
"""On a busy machine an API server takes long to start again."""


@pytest.fixture(scope="module")
def kubernetes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


@pytest.fixture
async def admin(kubernetes: Machine, tmp_path: Path) -> AsyncIterator[Client]:
    """The administrator, and no ConfigMap of a test before."""
    async with client_of(kubernetes.server, tmp_path) as client:
        await client.request("DELETE", PATH)
        yield client


@pytest.fixture
async def proxy(kubernetes: Machine) -> AsyncIterator[Proxy]:
    async with running(kubernetes.server) as found:
        yield found


async def test_all_there_is_and_all_that_happens(admin: Client) -> None:
    await fill(admin, 120)  # three pages
    async with following(admin) as (seen, follower):
        assert len(seen.objects) == 120
        await put(admin, "m3", "changed")
        await put(admin, "new", "1")
        await delete(admin, "m4")
        await seen.until(lambda: "new" in seen.data and "m4" not in seen.data)
        await agree(seen, admin)
        assert follower.state is State.FOLLOWING
        assert seen.happened[Happening.LISTED] == 1


async def test_an_empty_collection_is_synced_and_followed(admin: Client) -> None:
    async with following(admin) as (seen, _):
        assert seen.objects == {}
        await put(admin, "first", "1")
        await seen.until(lambda: "first" in seen.data)


async def test_metadata_alone_is_enough_where_it_is(admin: Client) -> None:
    await put(admin, "one", "1")
    names = replace(MAPS, metadata_only=True)
    async with following(admin, names) as (seen, _):
        await put(admin, "two", "2")
        await seen.until(lambda: len(seen.objects) == 2)
        assert {it["metadata"]["name"] for it in seen.objects.values()} == {"one", "two"}
        assert not any("data" in it for it in seen.objects.values())


async def test_a_stream_that_ends_is_resumed_and_nothing_is_listed_again(
    admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    async with Client(through(proxy, tmp_path)) as client, following(client) as (seen, _):
        for inside in (False, True, False):
            watched = seen.happened[Happening.WATCHED]
            await proxy.opened()
            proxy.cut(inside=inside)
            await put(admin, "while-away", str(inside))
            await seen.until(lambda: seen.happened[Happening.WATCHED] > watched)  # noqa: B023
            await agree(seen, admin)
        assert seen.happened[Happening.LISTED] == 1


async def test_a_deletion_while_the_stream_is_away_is_noticed(
    admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    await fill(admin, 3)
    async with Client(through(proxy, tmp_path)) as client, following(client) as (seen, _):
        await proxy.opened()
        proxy.answer(is_watch, 500)
        proxy.cut()
        await delete(admin, "m1")
        await agree(seen, admin)
        assert set(seen.data) == {"m0", "m2"}


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_servers_that_fail_or_ask_for_patience_are_asked_again(
    admin: Client, proxy: Proxy, tmp_path: Path, status: int
) -> None:
    async with Client(through(proxy, tmp_path)) as client:
        proxy.answer(is_list, status, retry_after=1)
        async with following(client) as (seen, _):
            await proxy.opened()
            proxy.answer(is_watch, status)
            proxy.cut()
            await put(admin, "later", "1")
            await agree(seen, admin)
            assert seen.happened[Happening.LISTED] == 1


async def test_410_on_resume_and_in_the_stream_lead_to_one_list_each(
    admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    await fill(admin, 3)
    async with Client(through(proxy, tmp_path)) as client, following(client) as (seen, _):
        await proxy.opened()
        proxy.answer(is_watch, 410, reason="Expired")
        proxy.cut()
        await seen.until(lambda: seen.happened[Happening.LISTED] == 2)
        await delete(admin, "m0")
        await agree(seen, admin)
        status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
        proxy.inject(json.dumps({"type": "ERROR", "object": status}).encode())
        await seen.until(lambda: seen.happened[Happening.LISTED] == 3)
        await put(admin, "m9", "1")
        await agree(seen, admin)
        assert seen.happened[Happening.EXPIRED] == 2


async def test_410_on_the_second_page_leads_to_one_whole_list(
    admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    await fill(admin, 120)
    async with Client(through(proxy, tmp_path)) as client:
        proxy.answer(is_following_page, 410, reason="Expired")
        async with following(client) as (seen, _):
            await agree(seen, admin)
            assert len(seen.objects) == 120


SHORT = replace(QUICK, session=2, silence=4.0)
"""As `Patience` has it, twelve times as quick."""


async def test_a_half_open_stream_is_noticed(admin: Client, proxy: Proxy, tmp_path: Path) -> None:
    """Something on the way keeps it open, and says nothing any more."""
    async with (
        Client(through(proxy, tmp_path)) as client,
        following(client, patience=replace(SHORT, silence=10.0)) as (seen, _),
    ):
        await proxy.opened()
        proxy.silence()
        await put(admin, "unheard", "1")
        await agree(seen, admin)
        assert seen.happened[Happening.BROKEN] >= 1
        assert seen.happened[Happening.LISTED] == 1


async def test_a_network_that_swallows_everything_is_noticed(
    kubernetes: Machine, admin: Client, tmp_path: Path
) -> None:
    """Requests hang as well; when the network is back, so is everything that was missed."""
    async with gate(kubernetes.server.port) as before:
        server = ApiServer(before.port, kubernetes.server.token, kubernetes.server.authority)
        async with (
            client_of(server, tmp_path) as client,
            following(client, patience=SHORT) as (seen, _),
        ):
            before.hold()
            await put(admin, "unheard", "1")
            await seen.until(lambda: seen.happened[Happening.BROKEN] > 0)
            assert "unheard" not in seen.data  # the negative control
            before.cut()
            before.release()
            await agree(seen, admin)


async def test_the_next_stream_comes_over_the_connection_of_the_last(
    kubernetes: Machine, admin: Client, tmp_path: Path
) -> None:
    """So that short streams cost a request each, and no handshake."""
    async with gate(kubernetes.server.port) as before:
        server = ApiServer(before.port, kubernetes.server.token, kubernetes.server.authority)
        async with (
            client_of(server, tmp_path) as client,
            following(client, patience=replace(QUICK, session=1)) as (seen, _),
        ):
            await seen.until(lambda: seen.happened[Happening.WATCHED] == 5)
            await put(admin, "after", "1")
            await agree(seen, admin)
            assert seen.happened[Happening.LISTED] == 1
            assert seen.happened[Happening.BROKEN] == 0
            assert before.connections == 1


def test_a_half_open_stream_is_noticed_within_a_minute() -> None:
    usual = Patience()
    assert 1.25 * usual.session < usual.silence < 60


async def test_a_missed_event_is_noticed_by_counting(
    admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    await fill(admin, 60)
    patience = replace(QUICK, count=0.5)
    async with (
        Client(through(proxy, tmp_path)) as client,
        following(client, patience=patience) as (seen, _),
    ):
        await proxy.opened()
        proxy.silence()
        await put(admin, "unheard", "1")
        await agree(seen, admin)
        assert seen.happened[Happening.MISCOUNTED] == 1


async def test_a_repeated_event_changes_nothing(
    admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    async with Client(through(proxy, tmp_path)) as client, following(client) as (seen, _):
        await put(admin, "twice", "1")
        await agree(seen, admin)
        proxy.repeat()
        await put(admin, "after", "1")
        await agree(seen, admin)
        assert seen.happened[Happening.LISTED] == 1


async def test_an_old_event_is_not_believed(admin: Client, proxy: Proxy, tmp_path: Path) -> None:
    async with Client(through(proxy, tmp_path)) as client, following(client) as (seen, _):
        await put(admin, "object", "new")
        await agree(seen, admin)
        old = {"metadata": {"name": "object", "namespace": "default", "resourceVersion": "1"}}
        proxy.inject(json.dumps({"type": "MODIFIED", "object": old}).encode())
        await seen.until(lambda: seen.happened[Happening.BACKWARDS] == 1)
        await seen.until(lambda: seen.happened[Happening.LISTED] == 2)
        await agree(seen, admin)


@pytest.mark.parametrize("line", [b"<html>", b'{"type":"WHAT","object":{}}', b"[[[[" * 5000])
async def test_nonsense_in_the_stream_is_no_event(
    admin: Client, proxy: Proxy, tmp_path: Path, line: bytes
) -> None:
    async with Client(through(proxy, tmp_path)) as client, following(client) as (seen, _):
        await proxy.opened()
        proxy.inject(line)
        await seen.until(lambda: seen.happened[Happening.BROKEN] > 0)
        await put(admin, "after", "1")
        await agree(seen, admin)


async def test_a_thousand_changes_with_a_fault_every_few(
    admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    """Nothing is missed and nothing stays that is not there."""
    chance = random.Random(17)  # noqa: S311  # the same faults each time
    faults = [
        proxy.cut,
        lambda: proxy.cut(inside=True),
        lambda: (proxy.answer(is_watch, 410, reason="Expired"), proxy.cut()),
        lambda: (proxy.answer(is_watch, 500), proxy.cut()),
        lambda: (proxy.answer(is_list, 503), proxy.answer(is_watch, 410), proxy.cut()),
        proxy.repeat,
        lambda: proxy.inject(b"{"),
    ]
    await fill(admin, 100)
    async with Client(through(proxy, tmp_path)) as client, following(client) as (seen, _):
        for _ in range(40):
            chance.choice(faults)()
            async with asyncio.TaskGroup() as group:
                for name in chance.sample(range(150), 25):
                    group.create_task(change(admin, f"m{name}", chance))
        proxy.cut()
        await put(admin, "last", "1")
        await seen.until(lambda: "last" in seen.data)
        await agree(seen, admin)


async def test_history_that_etcd_forgot(
    kubernetes: Machine, admin: Client, proxy: Proxy, tmp_path: Path
) -> None:
    """A real compaction, and a restarted API server, whose cache would hide it otherwise."""
    await fill(admin, 5)
    patience = replace(QUICK, backoff=Backoff(first=0.2, limit=2.0))
    async with (
        Client(through(proxy, tmp_path)) as client,
        following(client, patience=patience) as (seen, follower),
    ):
        version = follower._version
        kubernetes.stop_apiserver()
        kubernetes.start_apiserver()
        async with client_of(kubernetes.server, tmp_path) as again:
            await delete(again, "m2")
            await put(again, "m9", "1")
        kubernetes.compact()
        kubernetes.stop_apiserver()
        kubernetes.start_apiserver()
        # The negative control: the version at which the follower was is really gone.
        gone = await _status_of_watch(kubernetes, version, tmp_path)
        assert gone == 410
        async with client_of(kubernetes.server, tmp_path) as again:
            await agree(seen, again)
        assert set(seen.data) == {"m0", "m1", "m3", "m4", "m9"}


async def _status_of_watch(kubernetes: Machine, version: str, folder: Path) -> int:
    async with client_of(kubernetes.server, folder) as client:
        params = {"watch": "1", "resourceVersion": version, "timeoutSeconds": 5}
        async for chunk in client.stream(PATH, params, silence=60):
            return int(json.loads(chunk)["object"].get("code", 200))
    return 0


async def test_the_api_server_goes_and_comes_back(
    kubernetes: Machine, admin: Client, tmp_path: Path
) -> None:
    await fill(admin, 5)
    async with (
        client_of(kubernetes.server, tmp_path) as client,
        following(client) as (
            seen,
            follower,
        ),
    ):
        await asyncio.to_thread(kubernetes.stop_apiserver)
        await seen.until(lambda: follower.state is State.AWAY)
        await seen.until(lambda: "Connect" in follower.reason)  # it may say 503 as it ends
        assert len(seen.objects) == 5  # what is known stays
        kubernetes.start_apiserver()
        async with client_of(kubernetes.server, tmp_path) as again:
            await delete(again, "m0")
            await agree(seen, again)
        await seen.until(lambda: follower.state is State.FOLLOWING)


@pytest.mark.parametrize("noticed", [True, False])
async def test_a_restored_etcd_takes_back_what_was_never(
    kubernetes: Machine, admin: Client, tmp_path: Path, noticed: bool
) -> None:
    """Also if the outage falls between two requests, so that it is not noticed as one."""
    await fill(admin, 5)
    kubernetes.stop()
    kubernetes.back_up()
    kubernetes.start()
    async with (
        client_of(kubernetes.server, tmp_path) as client,
        following(client) as (
            seen,
            follower,
        ),
    ):
        for number in range(30):
            await put(client, "m1", f"undone {number}")
        await put(client, "undone", "1")
        await delete(client, "m0")
        await agree(seen, client)
        before = int(follower._version)
        if noticed:
            await asyncio.to_thread(kubernetes.stop)
            # Not only AWAY: a server that ends may say so itself, which is no outage yet.
            await seen.until(lambda: seen.happened[Happening.OUTAGE] > 0)
        else:
            kubernetes.stop()
        kubernetes.restore()
        kubernetes.start()
        async with client_of(kubernetes.server, tmp_path) as again:
            listed = await again.get(PATH)
            assert int(listed["metadata"]["resourceVersion"]) < before  # the negative control
            await agree(seen, again)
            assert seen.data["m1"] == {"value": "0"}
            await put(again, "m1", "goes on")  # at a version that is still lower
            await agree(seen, again)
            assert seen.data["m1"] == {"value": "goes on"}
        # Where none was to be noticed, the first answer of the new server may still be "later".
        why = {Happening.OUTAGE} if noticed else {Happening.OUTAGE, Happening.BACKWARDS}
        assert sum(seen.happened[one] for one in why) >= 1


GROUP = "things.example.org"
THINGS = Collection(
    name=f"widgets.{GROUP}",
    paths=(f"/apis/{GROUP}/v1/widgets", f"/apis/{GROUP}/v1beta1/widgets"),
)
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _definition(version: str) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    one = {"name": version, "served": True, "storage": True, "schema": schema}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    return {
        "metadata": {"name": f"widgets.{GROUP}"},
        "spec": {"group": GROUP, "names": names, "scope": "Namespaced", "versions": [one]},
    }


async def _is_gone(client: Client, path: str) -> bool:
    try:
        await client.get(path)
    except NotFoundError:
        return True
    return False


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_a_kind_that_comes_later_in_whatever_version_and_goes(
    admin: Client, version: str
) -> None:
    async with following(admin, THINGS) as (seen, follower):
        assert follower.state is State.ABSENT
        assert seen.objects == {}
        await until(lambda: _is_gone(admin, f"{DEFINITIONS}/widgets.{GROUP}"))  # of a test before
        await admin.request("POST", DEFINITIONS, body=_definition(version))
        follower.retry()
        await seen.until(lambda: follower.state is State.FOLLOWING)
        path = f"/apis/{GROUP}/{version}/namespaces/default/widgets"
        body = {"apiVersion": f"{GROUP}/{version}", "kind": "Widget", "metadata": {"name": "w"}}
        await admin.request("POST", path, body=body)
        await seen.until(lambda: len(seen.objects) == 1)
        await admin.request("DELETE", f"{DEFINITIONS}/widgets.{GROUP}")
        await seen.until(lambda: follower.state is State.ABSENT)
        assert seen.objects == {}


async def test_who_may_not_list_is_named_and_goes_on_when_granted(
    kubernetes: Machine, admin: Client, tmp_path: Path
) -> None:
    account = "/api/v1/namespaces/default/serviceaccounts"
    await admin.request("POST", account, body={"metadata": {"name": "poor"}})
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    token = (await admin.request("POST", f"{account}/poor/token", body=request))["status"]["token"]
    async with client_of(kubernetes.server, tmp_path, token=token) as client:
        seen = Seen()
        follower = Follower(client, MAPS, seen.take, observe=seen.observe, patience=QUICK)
        async with background(follower.run()):
            await seen.until(lambda: follower.state is State.REFUSED)
            assert 'cannot list resource "configmaps"' in follower.reason
            assert not follower.synced.is_set()
            rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]
            roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
            await admin.request(
                "POST", f"{roles}/roles", body={"metadata": {"name": "r"}, "rules": rules}
            )
            subject = {"kind": "ServiceAccount", "name": "poor", "namespace": "default"}
            role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
            binding = {"metadata": {"name": "b"}, "subjects": [subject], "roleRef": role}
            await admin.request("POST", f"{roles}/rolebindings", body=binding)
            await seen.until(lambda: follower.state is State.FOLLOWING)
