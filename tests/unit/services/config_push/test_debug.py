"""Debug pages: their shapes, and who may read them."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from libs.model.ids import SpiffeId
from libs.pki.errors import TokenError
from libs.xds.types import CLUSTER, ENDPOINT, NAME_TABLE
from services.config_push import absent_pages, debug, mesh_pages, receipts_page
from services.config_push.debug import DebugPages, Readers
from tests.support.mesh import endpoints, fqdn, mesh, port, service, sidecar
from tests.support.patches import patch_set
from tests.support.push_plane import ConnectedProxy, RunningPlane, running_plane

WEB = service("web", port(80))
WEB_CLUSTER = f"outbound|80||{fqdn('web')}"
PAGES = ("syncz", "connections", "config_dump?proxyID=client.shop", "push_status", "receipts")


async def _verify(token: str) -> SpiffeId:
    namespaces = {"system": "istio-system", "shop": "shop", "bank": "bank"}
    if token not in namespaces:
        raise TokenError
    return SpiffeId("cluster.local", namespaces[token], "reader")


class Site:
    """The pages behind an HTTP port, with two proxies connected to the plane."""

    def __init__(self, port_number: int, running: RunningPlane, *proxies: ConnectedProxy) -> None:
        self.url = f"http://127.0.0.1:{port_number}/debug/"
        self.running = running
        self.proxies = proxies

    async def get(self, page: str, token: str = "") -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + page, headers=headers) as answer,
        ):
            text = await answer.text()
            return answer.status, json.loads(text) if answer.status == 200 else text


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_plane(tmp_path) as running:
        running.change(mesh(WEB, endpoints(WEB, "10.0.0.1")), "Service/shop/web")
        plane = running.plane
        pages = DebugPages(
            plane.connections,
            plane.pusher,
            book=plane.book,
            readers=Readers(_verify, "istio-system"),
        )
        application = web.Application()
        application.add_routes(pages.routes())
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with running.proxy() as proxy, running.proxy("teller", "bank") as teller:
            for one in (proxy, teller):
                await one.send(one.client.subscribe(CLUSTER))
                await one.until(lambda client: WEB_CLUSTER in client.versions.get(ENDPOINT, {}))
            running.change(mesh(endpoints(WEB, "10.0.0.2"), before=running.mesh))
            await proxy.receive()
            await teller.receive()
            await running.receipt(2)
            yield Site(runner.addresses[0][1], running, proxy, teller)
        await runner.cleanup()


@pytest.fixture
def from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug, "is_loopback", lambda _: False)


async def test_syncz_has_a_row_for_each_proxy_with_what_was_sent_and_acknowledged(
    site: Site,
) -> None:
    _, rows = await site.get("syncz")
    row = next(one for one in rows if one["proxy"] == "client.shop")

    assert row["proxy_type"] == "sidecar"
    assert row["cluster_sent"] == row["cluster_acked"] != ""
    assert (row["endpoint_status"], row["endpoint_sent"]) == ("SYNCED", row["endpoint_acked"])
    assert "listener_sent" not in row


async def test_connections_are_listed_as_istio_lists_them(site: Site) -> None:
    _, page = await site.get("connections")

    assert page["totalClients"] == 2
    client = next(one for one in page["clients"] if one["connectionId"].startswith("client.shop-"))
    assert WEB_CLUSTER in client["watches"][ENDPOINT]


async def test_config_dump_is_envoys_with_the_sources_of_each_resource(site: Site) -> None:
    _, page = await site.get("config_dump?proxyID=client.shop")
    kinds = {config["@type"].rpartition(".")[2]: config for config in page["configs"]}
    clusters = [
        one["cluster"]["name"] for one in kinds["ClustersConfigDump"]["dynamic_active_clusters"]
    ]

    assert WEB_CLUSTER in clusters
    assert kinds["ListenersConfigDump"]["dynamic_listeners"][0]["active_state"]["listener"]
    assert kinds["RoutesConfigDump"]["dynamic_route_configs"]
    assert kinds["EndpointsConfigDump"]["dynamic_endpoint_configs"]
    assert "Service/shop/web" in page["sources"][WEB_CLUSTER]


async def test_a_dump_needs_a_proxy_that_is_connected(site: Site) -> None:
    assert (await site.get("config_dump"))[0] == 400
    assert (await site.get("config_dump?proxyID=nobody.shop"))[0] == 404


async def test_an_agents_stream_for_names_is_not_its_proxy(site: Site) -> None:
    async with site.running.proxy() as agent:
        await agent.send(agent.client.subscribe(NAME_TABLE))
        await agent.receive()
        _, rows = await site.get("syncz")
        _, page = await site.get("config_dump?proxyID=client.shop")

    assert sorted(row["proxy"] for row in rows) == ["client.shop", "teller.bank"]
    assert WEB_CLUSTER in page["sources"]


async def test_push_status_and_receipts(site: Site) -> None:
    _, status = await site.get("push_status")
    _, receipts = await site.get("receipts?ref=Service/shop/web")

    assert (status["proxies"], status["rejected"]) == (2, [])
    assert [one["change"] for one in receipts] == ["00000-00001"]


@pytest.mark.usefixtures("from_afar")
@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", (401, 401, 401, 401, 401)),
        ("forged", (401, 401, 401, 401, 401)),
        ("system", (200, 200, 200, 200, 200)),
        ("shop", (200, 200, 200, 403, 403)),
        ("bank", (200, 200, 404, 403, 403)),
    ],
)
async def test_who_may_read_what(site: Site, token: str, expected: tuple[int, ...]) -> None:
    assert tuple([(await site.get(page, token))[0] for page in PAGES]) == expected


@pytest.mark.usefixtures("from_afar")
async def test_others_see_only_the_proxies_of_their_namespace(site: Site) -> None:
    _, rows = await site.get("syncz", "bank")
    _, page = await site.get("connections", "bank")

    assert [row["proxy"] for row in rows] == ["teller.bank"]
    assert page["totalClients"] == 1


async def test_on_this_machine_everything_can_be_read(site: Site) -> None:
    assert [(await site.get(page))[0] for page in PAGES] == [200] * 5


async def test_each_patch_says_what_became_of_it(site: Site) -> None:
    text = """
        - {applyTo: CLUSTER, match: {cluster: {name: "%s"}}, patch: {operation: MERGE, value: {connect_timeout: %s}}}
        - {applyTo: CLUSTER, match: {cluster: {name: nobody}}, patch: {operation: REMOVE}}
        """  # noqa: E501 - as people write them
    good = patch_set(text % (WEB_CLUSTER, "1s"), "good")
    bad = patch_set(text % (WEB_CLUSTER, "soon"), "bad")
    alone = patch_set(text % (WEB_CLUSTER, "1s"), "alone", "store")
    change = site.running.change(mesh(good, bad, alone, before=site.running.mesh)).change
    while not any(row["applied"] for row in (await site.get("patches"))[1]):
        assert change
    _, rows = await site.get("patches")
    said = {(row["ref"], row["patch"]): (row["applied"], row["finding"]) for row in rows}
    place = "spec.configPatches"
    assert said["EnvoyFilter/shop/good", f"{place}[0]"] == (1, "")
    assert said["EnvoyFilter/shop/good", f"{place}[1]"] == (0, "the patch matches nothing")
    assert "connect_timeout" in said["EnvoyFilter/shop/bad", f"{place}[0]"][1]
    assert said["EnvoyFilter/store/alone", f"{place}[0]"] == (0, "the patch matches nothing")


async def test_patches_are_shown_to_the_control_plane_alone(site: Site, from_afar: None) -> None:
    del from_afar
    assert (await site.get("patches", "system"))[0] == 200
    assert (await site.get("patches", "shop"))[0] == 403
    assert (await site.get("patches", "forged"))[0] == 401


OF_THE_MESH = (*mesh_pages.PAGES, "instancesz", "sidecarz?proxyID=client.shop")
OF_A_PROXY = tuple(f"{name}?proxyID=client.shop" for name in ("edsz", "ndsz", "ecdsz", "adsz"))


@pytest.mark.usefixtures("from_afar")
async def test_pages_of_the_mesh_are_for_the_control_plane_alone(site: Site) -> None:
    for page in OF_THE_MESH:
        said = [(await site.get(page, token))[0] for token in ("system", "shop", "forged", "")]
        assert (page, said) == (page, [200, 403, 401, 401])


@pytest.mark.usefixtures("from_afar")
async def test_pages_of_a_proxy_are_for_its_namespace_too(site: Site) -> None:
    for page in OF_A_PROXY:
        said = [(await site.get(page, token))[0] for token in ("system", "shop", "bank", "")]
        assert (page, said) == (page, [200, 200, 404, 401])


async def test_a_proxys_endpoints_are_shown_as_envoy_has_them(site: Site) -> None:
    _, page = await site.get("edsz?proxyID=client.shop")
    (web,) = [one for one in page["configs"] if one["cluster_name"] == WEB_CLUSTER]
    assert web["@type"] == ENDPOINT
    assert "10.0.0.2" in json.dumps(web)
    assert (await site.get("edsz"))[0] == 400
    assert (await site.get("edsz?proxyID=nobody.shop"))[0] == 404


async def test_a_proxys_names_are_found_on_its_agents_stream(site: Site) -> None:
    async with site.running.proxy(DNS_CAPTURE="true") as agent:
        await agent.send(agent.client.subscribe(NAME_TABLE))
        await agent.receive()
        _, page = await site.get("ndsz?proxyID=client.shop")
    (table,) = page["configs"]
    assert fqdn("web") in table["table"]


async def test_adsz_shows_what_nodes_say_and_pushes_nothing(site: Site) -> None:
    _, page = await site.get("adsz?proxyID=teller.bank")
    (client,) = page["clients"]
    assert client["metadata"]["NAMESPACE"] == "bank"
    assert (await site.get("adsz"))[1]["totalClients"] == 2
    assert (await site.get("adsz?push=true"))[0] == 405


async def test_sidecarz_shows_what_a_proxy_may_see(site: Site) -> None:
    hidden = sidecar("only-bank", "bank/*")
    site.running.change(mesh(hidden, before=site.running.mesh))
    while (pages := (await site.get("sidecarz?proxyID=client.shop"))[1])["name"] != hidden.ref:
        assert pages
    assert pages["services"] == []
    other = (await site.get("sidecarz?proxyID=teller.bank"))[1]  # the negative control
    assert other["services"] == [fqdn("web")]


async def test_the_list_names_every_other_page(site: Site) -> None:
    _, names = await site.get("list")
    assert {"syncz", "edsz", "configz", "clusterz"} <= set(names)
    for name in names:
        assert (await site.get(f"{name}?proxyID=client.shop"))[0] == 200, name


async def _lines(site: Site, query: str = "", token: str = "") -> AsyncGenerator[Any, None]:
    """Yield what the page of receipts that goes on says; first its status."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = site.url + "receipts/watch" + query
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        yield answer.status
        async for line in answer.content:
            yield json.loads(line) if line.strip() else None


async def _change(lines: AsyncGenerator[Any, None], name: str) -> dict[str, Any]:
    """Return the receipt of a change once it is settled."""
    async with asyncio.timeout(30):
        async for line in lines:
            if line and line["change"] == name and line.get("settled"):
                return dict(line)
    raise AssertionError("the page has ended")


@pytest.mark.parametrize("name", absent_pages.REASONS)
async def test_a_page_that_only_istiod_has_is_refused_with_the_reason(
    site: Site, name: str
) -> None:
    status, text = await site.get(name)
    assert status == 404
    assert absent_pages.REASONS[name] in text


async def test_who_asks_for_such_a_page_proves_themselves_too(site: Site, from_afar: None) -> None:
    assert (await site.get("inject"))[0] == 401
    assert (await site.get("inject", "bank"))[0] == 404


async def test_receipts_are_followed(site: Site) -> None:
    async with aclosing(_lines(site)) as lines, aclosing(_lines(site, "?ref=a/b/c")) as others:
        assert await anext(lines) == await anext(others) == 200
        held = await _change(lines, "00000-00002")
        assert (await site.get("receipts"))[1][-1] == held
        running = site.running
        running.change(mesh(endpoints(WEB, "10.0.0.3"), before=running.mesh), "a/b/c")
        for proxy in site.proxies:
            await proxy.receive()
        assert (await _change(lines, "00000-00003"))["causes"] == ["a/b/c"]
        assert (await _change(others, "00000-00003"))["causes"] == ["a/b/c"]


async def test_followers_are_few_and_those_who_leave_make_room(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts_page, "MAX_READERS", 1)
    async with aclosing(_lines(site)) as lines:
        assert await anext(lines) == 200
        async with aclosing(_lines(site)) as more:
            assert await anext(more) == 503

    async def again() -> bool:
        async with aclosing(_lines(site)) as lines:
            return bool(await anext(lines) == 200)

    async with asyncio.timeout(30):
        while not await again():  # noqa: ASYNC110 - nothing tells when a server has noticed
            await asyncio.sleep(0.05)


async def test_who_follows_is_told_that_there_is_no_news(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts_page, "BEAT_SECONDS", 0.05)
    async with aclosing(_lines(site, "?ref=no/such/thing")) as lines, asyncio.timeout(30):
        assert [await anext(lines) for _ in range(3)] == [200, None, None]


@pytest.mark.parametrize(("token", "status"), [("system", 200), ("shop", 403), ("nobody", 401)])
async def test_who_may_follow(site: Site, from_afar: None, token: str, status: int) -> None:
    del from_afar
    async with aclosing(_lines(site, token=token)) as lines:
        assert await anext(lines) == status
