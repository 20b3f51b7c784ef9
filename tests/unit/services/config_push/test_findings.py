"""What became of patches, counted over the proxies that are connected."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryResponse

from libs.model.ids import Ref
from libs.model.patches import PatchSet
from libs.protos.findings.v1.findings_pb2 import Finding, Patch, PatchList
from libs.proxy.scoper import Scoper
from libs.runtime.tasks import background
from libs.xds import generate
from libs.xds.types import BOOTSTRAP, CLUSTER, ENDPOINT, LISTENER, Conflict, ResourceSet
from services.config_push import findings
from services.config_push.findings import Watched, found
from tests.support.mesh import endpoints, fqdn, mesh, port, proxy, service
from tests.support.patches import patch_set
from tests.support.push_plane import ConnectedProxy, RunningPlane, running_plane

WEB = service("web", port(80))
WEB_CLUSTER = f"outbound|80||{fqdn('web')}"
HIT = f"""{{applyTo: CLUSTER, match: {{cluster: {{name: "{WEB_CLUSTER}"}}}},
    patch: {{operation: MERGE, value: {{connect_timeout: %s}}}}}}"""
MISS = "{applyTo: CLUSTER, match: {cluster: {name: nobody}}, patch: {operation: REMOVE}}"
BOOT = "{applyTo: BOOTSTRAP, patch: {operation: MERGE, value: {stats_flush_interval: 7s}}}"
REF = "EnvoyFilter/shop/p"
SECONDS = 20


def sets_of(*patches: PatchSet) -> dict[str, ResourceSet]:
    whole = mesh(WEB, endpoints(WEB, "10.0.0.1"), *patches)
    return dict(generate.snapshot(Scoper().scope(whole, proxy())).sets)


def watched(sets: dict[str, ResourceSet], *, error: str = "", **metadata: str) -> Watched:
    blamed = tuple(one.ref for found in sets.values() for one in found.outcomes)
    return Watched(sets, {CLUSTER: (error, blamed)} if error else {}, metadata)


def only(said: PatchList) -> Patch:
    (patch,) = said.patches
    return patch


def kinds(patch: Patch) -> dict[int, tuple[str, int]]:
    return {one.kind: (one.text, one.proxies) for one in patch.findings}


def test_proxies_are_counted_one_by_one_though_they_share_their_sets() -> None:
    sets = sets_of(patch_set(f"[{HIT % '1s'}]"))
    patch = only(found([watched(sets)] * 3))
    assert (patch.ref, patch.index) == ("EnvoyFilter/shop/p", 0)
    assert (patch.proxies, patch.applied, kinds(patch)) == (3, 3, {})


def test_what_matches_nothing_is_applied_nowhere() -> None:
    patch = only(found([watched(sets_of(patch_set(f"[{MISS}]")))]))
    assert (patch.proxies, patch.applied) == (1, 0)


def test_a_value_that_does_not_fit_says_why_and_where() -> None:
    said = found([watched(sets_of(patch_set(f"[{MISS}, {HIT % 'soon'}]")))] * 2)
    patch = said.patches[1]
    assert patch.index == 1
    text, proxies = kinds(patch)[Finding.MISFIT]
    assert "connect_timeout" in text
    assert proxies == 2


def test_a_refusal_is_blamed_on_the_patch_that_acted_there() -> None:
    sets = sets_of(patch_set(f"[{MISS}, {HIT % '1s'}]"))
    said = found([watched(sets, error="no"), watched(sets)])
    assert kinds(said.patches[0]) == {}
    assert kinds(said.patches[1]) == {Finding.REFUSED: ("no", 1)}


def test_of_two_patches_that_acted_nobody_knows_which_one_is_refused() -> None:
    sets = sets_of(patch_set(f"[{HIT % '1s'}, {HIT % '2s'}]"))
    said = found([watched(sets, error="no")])
    assert {patch.index: set(kinds(patch)) for patch in said.patches} == {
        findings.WHOLE: {Finding.REFUSED},
        0: set(),
        1: set(),
    }


def test_a_refusal_of_something_else_is_no_patchs() -> None:
    sets = sets_of(patch_set(f"[{HIT % '1s'}]"))
    proxy = Watched(sets, {LISTENER: ("no", ()), CLUSTER: ("no", ())}, {})
    assert kinds(only(found([proxy]))) == {}


def test_a_bootstrap_is_compared_with_what_the_proxy_was_started_with() -> None:
    sets = sets_of(patch_set(f"[{BOOT}]"))
    (wanted,) = sets[BOOTSTRAP].resources.values()
    said = {
        "in force": {"SEINE_BOOTSTRAP": wanted.version},
        "older": {"SEINE_BOOTSTRAP": "0"},
        "never asks": {},
        "refused": {
            "SEINE_BOOTSTRAP": "",
            "SEINE_BOOTSTRAP_REFUSED": f"{wanted.version} it is wrong",
        },
        "another was refused": {"SEINE_BOOTSTRAP": "", "SEINE_BOOTSTRAP_REFUSED": "0 wrong"},
    }
    assert {
        name: kinds(only(found([watched(sets, **metadata)]))) for name, metadata in said.items()
    } == {
        "in force": {},
        "older": {Finding.NOT_IN_FORCE: (findings._LATER, 1)},
        "never asks": {Finding.NOT_IN_FORCE: (findings._NOT_ASKED, 1)},
        "refused": {Finding.REFUSED: ("it is wrong", 1)},
        "another was refused": {Finding.NOT_IN_FORCE: (findings._LATER, 1)},
    }


def test_the_list_is_bounded_and_keeps_what_is_wrong() -> None:
    more = ", ".join([HIT % "1s"] * findings.MAX_PATCHES)
    said = found([watched(sets_of(patch_set(f"[{more}, {HIT % 'soon'}]")))])
    assert len(said.patches) == findings.MAX_PATCHES
    assert said.left_out == 1
    assert said.patches[-1].index == findings.MAX_PATCHES


def _conflict(lost: str) -> Conflict:
    return Conflict("10.96.0.1_5432", Ref("Service/shop/a"), Ref(lost), "TCP over TCP")


def test_who_lost_a_listener_is_told_once() -> None:
    one, other = _conflict("Service/shop/b"), _conflict("Service/shop/c")
    said = found([], [other, one, other])
    assert [(it.lost, it.kept) for it in said.conflicts] == [
        ("Service/shop/b", "Service/shop/a"),
        ("Service/shop/c", "Service/shop/a"),
    ]
    assert not said.patches


def test_conflicts_that_are_told_are_bounded() -> None:
    many = [_conflict(f"Service/shop/{number}") for number in range(findings.MAX_CONFLICTS + 2)]
    said = found([], many)
    assert (len(said.conflicts), said.left_out) == (findings.MAX_CONFLICTS, 2)


async def until(running: RunningPlane, reached: Callable[[PatchList], bool]) -> PatchList:
    following = contextlib.aclosing(running.plane.findings.follow())
    async with asyncio.timeout(SECONDS), following as lists:
        async for said in lists:
            if reached(said):
                return said
    raise AssertionError


async def connected(one: ConnectedProxy) -> None:
    await one.send(one.client.subscribe(CLUSTER))
    await one.until(lambda client: WEB_CLUSTER in client.versions.get(ENDPOINT, {}))


async def answers(proxy: ConnectedProxy, refusal: Callable[[str], str | None]) -> None:
    """Answer whatever comes, by what the first of its clusters has for a timeout."""

    def verdict(response: DeltaDiscoveryResponse) -> str | None:
        if response.type_url != CLUSTER or not response.resources:
            return None
        cluster = Cluster.FromString(response.resources[0].resource.value)
        return refusal(f"{cluster.connect_timeout.seconds}s")

    while True:
        body = await proxy.read(SECONDS)
        await proxy.send(*proxy.client.on_response(body, verdict))


async def test_lists_follow_who_is_connected_and_what_is_refused(tmp_path: Path) -> None:
    async with running_plane(tmp_path) as running:
        running.change(mesh(WEB, endpoints(WEB, "10.0.0.1"), patch_set(f"[{HIT % '1s'}]")))
        async with running.proxy() as proxy:
            await connected(proxy)
            await until(running, lambda said: bool(said.patches) and said.patches[0].applied == 1)
            async with running.proxy("other") as other:
                await connected(other)
                await until(running, lambda said: said.patches[0].proxies == 2)
            await until(running, lambda said: said.patches[0].proxies == 1)
            words = f"Error adding/updating cluster(s) {WEB_CLUSTER}: no"
            running.change(mesh(patch_set(f"[{HIT % '2s'}]"), before=running.mesh))
            async with background(answers(proxy, lambda it: words if "2s" in it else None)):
                said = await until(running, lambda said: bool(said.patches[0].findings))
                assert kinds(said.patches[0]) == {Finding.REFUSED: (words, 1)}
                running.change(mesh(patch_set(f"[{HIT % '3s'}]"), before=running.mesh))
                await until(running, lambda said: not said.patches[0].findings)
        await until(running, lambda said: not said.patches)


async def test_the_latest_receipt_of_an_envoyfilter_says_what_became_of_its_patches(
    tmp_path: Path,
) -> None:
    async with running_plane(tmp_path) as running:
        book = running.plane.book
        running.change(mesh(WEB, endpoints(WEB, "10.0.0.1"), patch_set(f"[{HIT % '1s'}]")), REF)
        async with running.proxy() as proxy:
            await connected(proxy)
            following = contextlib.aclosing(book.follow())
            running.change(mesh(patch_set(f"[{MISS}]"), before=running.mesh), REF)
            async with asyncio.timeout(SECONDS), following as receipts:
                async for receipt in receipts:
                    if receipt.patches:
                        break
            first, second = book.receipts(REF)
            assert not first.patches
            assert [(one.ref, one.applied) for one in second.patches] == [(REF, 0)]
            running.change(mesh(patch_set(f"[{HIT % '3s'}]"), before=running.mesh), REF)
            await until(running, lambda said: said.patches[0].applied == 1)
            assert not any(receipt.patches for receipt in book.receipts(REF))
