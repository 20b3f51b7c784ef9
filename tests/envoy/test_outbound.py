"""What a real Envoy does with the requests and connections that its application opens."""

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import Struct

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.service import Protocol, Service, ServicePort
from libs.model.traffic import (
    Abort,
    Cors,
    Destination,
    DirectResponse,
    Fault,
    HeaderOperations,
    HttpMatch,
    HttpRoute,
    MatchKind,
    NamedMatch,
    Redirect,
    RegexRewrite,
    Rewrite,
    StreamRoute,
    StringMatch,
    Subset,
    WeightedDestination,
)
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import Snapshot
from tests.support import mesh, traffic
from tests.support.certificates import TestAuthority
from tests.support.envoy import Envoy, free_ports, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTBOUND, V1, V2 = "127.67.0.1", "127.67.0.11", "127.67.0.12"


class Client(Struct, frozen=True):
    """A client's Envoy, and the ports on which it is asked."""

    envoy: Envoy
    http: int
    tcp: int
    proxy: int
    application: int

    async def apply(self, *rows: Struct) -> None:
        """Have Envoy follow these rows, besides the two services that are always there."""
        await self.envoy.serve(_snapshot(self.ports, *rows))
        assert await self.envoy.complaints() == []

    @property
    def ports(self) -> tuple[int, ...]:
        return self.http, self.tcp, self.proxy, self.application

    async def ask(self, host: str, path: str = "/", **headers: str) -> traffic.Answer:
        """Send a request for `host` to the listener of the service's port."""
        return await traffic.http((OUTBOUND, self.http), path, headers={"host": host, **headers})


def _services(http: int, tcp: int) -> tuple[Service, Service]:
    web = mesh.service("web", ServicePort(http, "http", Protocol.HTTP))
    return web, mesh.service("db", ServicePort(tcp, "tcp", Protocol.TCP))


def _snapshot(ports: tuple[int, ...], *rows: Struct) -> Snapshot:
    http, tcp, proxy_port, application = ports
    web, db = _services(http, tcp)
    found = tuple(
        Endpoint(address=address, port=application, port_name="http", labels={"version": version})
        for address, version in ((V1, "v1"), (V2, "v2"))
    )
    behind = Endpoint(address=V1, port=application, port_name="tcp")
    now = mesh.mesh(
        web,
        db,
        EndpointSet(key=web.key, endpoints=found),
        EndpointSet(key=db.key, endpoints=(behind,)),
        mesh.host_policy(
            "web", web.host, subsets=tuple(Subset(v, {"version": v}) for v in ("v1", "v2"))
        ),
        *rows,
    )
    client = mesh.proxy(
        interception=Interception.NONE, outbound_address=OUTBOUND, http_proxy_port=proxy_port
    )
    return generate.snapshot(Scoper().scope(now, client))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    folder: Path = tmp_path_factory.mktemp("envoy")
    ports = tuple(free_ports(4))
    certificate = TestAuthority().issue("client")
    async with (
        traffic.application(V1, ports[3]),
        traffic.application(V2, ports[3]),
        running(_snapshot(ports), certificate, folder) as envoy,
    ):
        yield Client(envoy, *ports)


def to(subset: str = "", weight: int = 0) -> WeightedDestination:
    return WeightedDestination(Destination(mesh.fqdn("web"), subset), weight)


def rule(*rules: HttpRoute) -> Struct:
    return mesh.routing("r", mesh.fqdn("web"), http=rules)


TO_WEB = HttpRoute(destinations=(to(),))


@pytest.mark.parametrize("host", ["web", "web.shop", "web.shop.svc", mesh.fqdn("web"), "web:1"])
async def test_a_service_answers_to_its_names(client: Client, host: str) -> None:
    await client.apply()
    assert (await client.ask(host)).status == 200


async def test_nobody_answers_for_an_unknown_host(client: Client) -> None:
    await client.apply()
    assert (await client.ask("nobody.example.com")).status == 502


async def test_a_client_may_ask_the_proxy_for_every_port(client: Client) -> None:
    await client.apply()
    named = {"host": f"web:{client.http}"}
    assert (await traffic.http((OUTBOUND, client.proxy), headers=named)).status == 200
    unnamed = {"host": "web:1"}
    assert (await traffic.http((OUTBOUND, client.proxy), headers=unnamed)).status == 502


async def test_requests_are_split_as_the_weights_say(client: Client) -> None:
    shares = tuple(
        WeightedDestination(
            Destination(mesh.fqdn("web"), subset),
            weight,
            HeaderOperations(response_set={"x-version": subset}),
        )
        for subset, weight in (("v1", 80), ("v2", 20))
    )
    await client.apply(rule(HttpRoute(destinations=shares)))
    answers = [await client.ask("web") for _ in range(200)]
    counts = Counter(answer.headers["x-version"] for answer in answers)
    assert 20 <= counts["v2"] <= 64, counts


async def test_the_first_route_that_matches_decides(client: Client) -> None:
    beta = HttpMatch(headers=(NamedMatch("x-user", StringMatch(MatchKind.REGEX, "b.*")),))
    await client.apply(
        rule(HttpRoute(matches=(beta,), direct_response=DirectResponse(418, b"beta")), TO_WEB)
    )
    assert (await client.ask("web", **{"x-user": "bob"})).status == 418
    assert (await client.ask("web", **{"x-user": "alice"})).status == 200


async def test_paths_and_hosts_are_rewritten(client: Client) -> None:
    rewrite = Rewrite(
        uri_regex=RegexRewrite(r"/old/([^/]+).*", r"/new/\1"), authority="api.example.com"
    )
    await client.apply(rule(HttpRoute(destinations=(to(),), rewrite=rewrite)))
    seen = (await client.ask("web", "/old/book/7")).body.lower()
    assert "get /new/book " in seen
    assert "host: api.example.com" in seen


async def test_headers_are_changed(client: Client) -> None:
    headers = HeaderOperations(
        request_set={"x-set": "1"}, request_remove=("x-secret",), response_add={"x-served": "yes"}
    )
    await client.apply(rule(HttpRoute(destinations=(to(),), headers=headers)))
    answer = await client.ask("web", **{"x-secret": "s", "x-set": "0"})
    assert "x-set: 1" in answer.body.lower()
    assert "x-secret" not in answer.body.lower()
    assert answer.headers["x-served"] == "yes"


async def test_a_redirect_says_where(client: Client) -> None:
    away = Redirect(scheme="https", authority="other.example.com", uri="/there", code=308)
    await client.apply(rule(HttpRoute(redirect=away)))
    answer = await client.ask("web")
    assert answer.status == 308
    assert answer.headers["location"] == "https://other.example.com/there"


async def test_faults_are_made(client: Client) -> None:
    await client.apply(
        rule(HttpRoute(destinations=(to(),), fault=Fault(abort=Abort(http_status=507))))
    )
    assert (await client.ask("web")).status == 507


async def test_browsers_are_told_who_may_ask(client: Client) -> None:
    cors = Cors(allow_origins=(StringMatch(MatchKind.EXACT, "https://shop.example.com"),))
    await client.apply(rule(HttpRoute(destinations=(to(),), cors=cors)))
    answer = await client.ask("web", origin="https://shop.example.com")
    assert answer.headers["access-control-allow-origin"] == "https://shop.example.com"
    other = await client.ask("web", origin="https://evil.example.com")
    assert "access-control-allow-origin" not in other.headers


async def test_a_subset_without_endpoints_is_no_way_out_to_others(client: Client) -> None:
    await client.apply(rule(HttpRoute(destinations=(to("v9"),))))
    assert (await client.ask("web")).status == 503


async def test_bytes_are_carried(client: Client) -> None:
    await client.apply()
    answer = await traffic.exchange((OUTBOUND, client.tcp), b"\x00hello")
    assert answer.body == "\x00HELLO"


async def test_connections_are_routed(client: Client) -> None:
    elsewhere = WeightedDestination(Destination("nowhere.example.com"))
    await client.apply(mesh.routing("db", mesh.fqdn("db"), tcp=(StreamRoute((), (elsewhere,)),)))
    assert (await traffic.exchange((OUTBOUND, client.tcp), b"\x00hello")).status == 0


async def test_a_change_of_routes_loses_no_request(client: Client) -> None:
    for subset in ("v1", "v2", "v1", "v2"):
        await client.apply(rule(HttpRoute(destinations=(to(subset),))))
        statuses = {(await client.ask("web")).status for _ in range(10)}
        assert statuses == {200}
