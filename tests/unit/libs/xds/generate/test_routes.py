import pytest
from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.extensions.filters.http.fault.v3.fault_pb2 import HTTPFault
from msgspec import structs

from libs.model.service import Protocol, Resolution
from libs.model.settings import MeshSettings
from libs.model.traffic import (
    Abort,
    ConsistentHash,
    Destination,
    DirectResponse,
    Fault,
    HeaderOperations,
    HttpMatch,
    HttpRoute,
    LoadBalancing,
    MatchKind,
    Mirror,
    NamedMatch,
    Redirect,
    Retries,
    Routing,
    StringMatch,
    Subset,
    TrafficPolicy,
    WeightedDestination,
)
from libs.proxy.node import Interception
from libs.xds.types import ROUTE
from tests.support.mesh import fqdn, host_policy, port, routing, service
from tests.support.scopes import hosts, resources, routes

WEB, OTHER = service("web"), service("other")


def to(host: str, weight: int = 0, **destination: object) -> WeightedDestination:
    return WeightedDestination(Destination(host, **destination), weight)  # type: ignore[arg-type]


def http(*rules: HttpRoute, host: str = WEB.host, name: str = "r", **fields: object) -> Routing:
    return routing(name, host, http=rules, **fields)


def first(*rules: HttpRoute) -> Route:
    return host(*rules).routes[0]


def host(*rules: HttpRoute) -> VirtualHost:
    return hosts(routes(WEB, OTHER, http(*rules))["80"])[f"{WEB.host}:80"]


TO_WEB = HttpRoute(destinations=(to(WEB.host),))


def test_a_service_is_asked_for_by_every_name_it_has() -> None:
    found = hosts(routes(WEB)["80"])[f"{WEB.host}:80"]
    assert list(found.domains) == [
        "web.shop.svc.cluster.local",
        "web.shop.svc.cluster.local.",
        "web",
        "web.shop.svc",
        "web.shop",
        WEB.addresses[0],
    ]


def test_names_of_another_namespace_are_never_as_short_as_ones_own() -> None:
    far = service("web", namespace="elsewhere")
    found = hosts(routes(WEB, far)["80"])
    assert "web" in found[f"{WEB.host}:80"].domains
    assert list(found[f"{far.host}:80"].domains)[2:4] == ["web.elsewhere", "web.elsewhere.svc"]


def test_a_short_name_never_takes_the_name_of_another_service() -> None:
    squatter = service("web.shop.svc", host="web.shop.svc", registry="External")
    found = hosts(routes(WEB, squatter)["80"])
    assert "web.shop.svc" in found["web.shop.svc:80"].domains
    assert "web.shop.svc" not in found[f"{WEB.host}:80"].domains


def test_pods_of_a_headless_service_have_names_in_front_of_it() -> None:
    headless = service("web", resolution=Resolution.ORIGINAL)
    assert "*.web.shop.svc" in hosts(routes(headless)["80"])[f"{WEB.host}:80"].domains


def test_addresses_of_ipv6_stand_in_brackets() -> None:
    six = service("web", addresses=("fd00::1",))
    assert "[fd00::1]" in hosts(routes(six)["80"])[f"{WEB.host}:80"].domains


@pytest.mark.parametrize(
    ("allowed", "interception", "name"),
    [
        (True, Interception.REDIRECT, "allow_any"),
        (False, Interception.REDIRECT, "block_all"),
        (True, Interception.NONE, "block_all"),
    ],
)
def test_unknown_hosts(allowed: bool, interception: Interception, name: str) -> None:
    found = routes(WEB, MeshSettings(allow_any_outbound=allowed), interception=interception)["80"]
    last = found.virtual_hosts[-1]
    assert (last.name, last.routes[0].name, list(last.domains)) == (name, name, ["*"])
    if name == "block_all":
        assert last.routes[0].direct_response.status == 502
    else:
        assert last.routes[0].route.cluster == "PassthroughCluster"


def test_each_port_has_its_own_routes() -> None:
    web = service("web", port(80), port(81), port(5432, Protocol.TCP))
    assert sorted(routes(web)) == ["80", "81"]


def test_a_sniffed_port_has_routes_for_its_service_alone() -> None:
    one, two = service("one", port(70, Protocol.AUTO)), service("two", port(70, Protocol.AUTO))
    found = routes(one, two)
    assert sorted(found) == [f"{one.host}:70", f"{two.host}:70"]
    (only,) = found[f"{one.host}:70"].virtual_hosts
    assert list(only.domains) == ["*"]
    assert only.routes[0].route.cluster == f"outbound|70||{one.host}"


def test_the_proxy_for_all_ports_tells_services_apart_by_port() -> None:
    web = service("web", port(80), port(81))
    found = routes(web, http_proxy_port=15007)["http_proxy"]
    assert not found.ignore_port_in_host_matching
    assert {"web", "web:80"} <= set(hosts(found)[f"{web.host}:80"].domains)
    assert "web" not in hosts(found)[f"{web.host}:81"].domains
    assert "web:81" in hosts(found)[f"{web.host}:81"].domains


def test_every_virtual_host_and_route_says_where_it_came_from() -> None:
    found = host(TO_WEB)
    path = "/apis/networking.istio.io/v1/namespaces/shop/virtual-service/r"
    assert found.metadata.filter_metadata["istio"].fields["config"].string_value == path
    assert found.routes[0].metadata.filter_metadata["istio"].fields["config"].string_value == path
    sources = resources(ROUTE, WEB, http(TO_WEB))["80"].sources
    assert sources == ("Service/shop/web", "VirtualService/shop/r")


def test_the_oldest_routing_of_a_host_wins() -> None:
    newer = http(HttpRoute(name="newer", destinations=(to(WEB.host),)), name="a", created=2)
    older = http(HttpRoute(name="older", destinations=(to(WEB.host),)), name="b", created=1)
    found = hosts(routes(WEB, newer, older)["80"])[f"{WEB.host}:80"]
    assert [route.name for route in found.routes] == ["older"]


def test_the_most_specific_routing_of_a_service_wins_whatever_its_age() -> None:
    wild = http(HttpRoute(name="wild"), host="*.shop.svc.cluster.local", name="a", created=1)
    exact = http(HttpRoute(name="exact"), name="b", created=2)
    found = hosts(routes(WEB, OTHER, wild, exact)["80"])
    assert found[f"{WEB.host}:80"].routes[0].name == "exact"
    assert found[f"{OTHER.host}:80"].routes[0].name == "wild"


def test_a_routing_for_other_clients_leaves_the_default() -> None:
    foreign = http(HttpRoute(matches=(HttpMatch(source_labels={"app": "x"}),)))
    assert hosts(routes(WEB, foreign)["80"])[f"{WEB.host}:80"].routes[0].name == "default"


def test_hosts_that_are_no_service_are_heard_on_port_80_only() -> None:
    web = service("web", port(80), port(81))
    found = routes(web, http(TO_WEB, host="books.example.com"))
    assert "books.example.com:80" in hosts(found["80"])
    assert "books.example.com:81" not in hosts(found["81"])


def test_the_proxy_for_all_ports_hears_hosts_that_are_no_service_as_on_port_80() -> None:
    rule = http(TO_WEB, host="books.example.com")
    found = routes(service("web", port(81)), rule, http_proxy_port=15007)["http_proxy"]
    asked = set(hosts(found)["books.example.com:80"].domains)
    assert asked == {"books.example.com", "books.example.com:80"}


def test_a_service_that_is_not_on_port_80_is_heard_there_by_its_bare_name() -> None:
    web = service("web", port(81))
    found = routes(web, OTHER, http(TO_WEB))
    assert list(hosts(found["80"])[f"{WEB.host}:80"].domains) == [WEB.host]
    assert len(hosts(found["81"])[f"{WEB.host}:81"].domains) > 1


def test_two_routings_never_give_one_domain_to_two_hosts() -> None:
    one = http(TO_WEB, host="books.example.com", name="a")
    two = http(TO_WEB, host="books.example.com", name="b")
    names = [found.name for found in routes(WEB, one, two)["80"].virtual_hosts]
    assert names.count("books.example.com:80") == 1


def test_nothing_comes_after_a_route_that_takes_everything() -> None:
    late = HttpRoute(name="late", direct_response=DirectResponse(500))
    everything = HttpMatch(uri=StringMatch(MatchKind.PREFIX, "/"))
    assert len(host(TO_WEB, late).routes) == 1
    either = structs.replace(TO_WEB, matches=(everything, HttpMatch(name="never")))
    assert len(host(either, late).routes) == 1
    narrow = HttpMatch(
        uri=StringMatch(MatchKind.PREFIX, "/"),
        headers=(NamedMatch("x", StringMatch(MatchKind.PRESENT)),),
    )
    assert len(host(structs.replace(TO_WEB, matches=(narrow,)), late).routes) == 2


def test_a_match_of_another_port_is_left_out() -> None:
    other = HttpRoute(matches=(HttpMatch(port=81),), direct_response=DirectResponse(500))
    assert [route.name for route in host(other).routes] == ["default"]


@pytest.mark.parametrize(
    ("rule", "match", "expected"),
    [("", "", ""), ("a", "", "a"), ("a", "b", "a.b"), ("", "b", ".b")],
)
def test_route_names(rule: str, match: str, expected: str) -> None:
    written = structs.replace(TO_WEB, name=rule, matches=(HttpMatch(name=match),))
    assert first(written).name == expected


def test_one_destination_is_a_cluster_and_several_are_shares() -> None:
    assert first(TO_WEB).route.cluster == f"outbound|80||{WEB.host}"
    split = HttpRoute(
        destinations=(to(WEB.host, 90), to(OTHER.host, 10, subset="v1"), to(OTHER.host, 0))
    )
    found = first(split).route.weighted_clusters.clusters
    assert [(share.name, share.weight.value) for share in found] == [
        (f"outbound|80||{WEB.host}", 90),
        (f"outbound|80|v1|{OTHER.host}", 10),
    ]


def test_shares_that_are_all_zero_lead_nowhere() -> None:
    none = HttpRoute(destinations=(to(WEB.host, 0), to(OTHER.host, 0)))
    assert first(none).route.cluster == "BlackHoleCluster"


@pytest.mark.parametrize(
    ("ports", "asked", "expected"),
    [((90,), 0, 90), ((90, 91), 0, 80), ((90, 91), 91, 91), ((80, 91), 0, 80)],
)
def test_the_port_of_a_destination(ports: tuple[int, ...], asked: int, expected: int) -> None:
    dest = service("dest", *map(port, ports))
    rule = HttpRoute(destinations=(to(dest.host, port=asked),))
    found = hosts(routes(WEB, dest, http(rule))["80"])[f"{WEB.host}:80"]
    assert found.routes[0].route.cluster == f"outbound|{expected}||{dest.host}"


def test_a_destination_that_does_not_exist_keeps_its_name() -> None:
    lost = HttpRoute(destinations=(to("lost.example.com"),))
    assert first(lost).route.cluster == "outbound|80||lost.example.com"


def test_an_alias_leads_to_the_service_it_stands_for() -> None:
    alias = service("alias", resolution=Resolution.ALIAS, alias_of=OTHER.host)
    rule = HttpRoute(destinations=(to(alias.host),))
    found = hosts(routes(WEB, OTHER, alias, http(rule))["80"])
    assert found[f"{WEB.host}:80"].routes[0].route.cluster == f"outbound|80||{OTHER.host}"
    assert "alias" in found[f"{OTHER.host}:80"].domains


def test_a_routing_about_an_alias_is_not_about_its_service() -> None:
    alias = service("alias", resolution=Resolution.ALIAS, alias_of=OTHER.host)
    rule = http(HttpRoute(name="about", destinations=(to(OTHER.host),)), host=fqdn("alias"))
    found = hosts(routes(OTHER, alias, rule)["80"])
    assert found[f"{alias.host}:80"].routes[0].name == "about"
    assert found[f"{OTHER.host}:80"].routes[0].name == "default"
    assert "alias" not in found[f"{OTHER.host}:80"].domains


def test_every_route_is_tried_again_at_another_host() -> None:
    retry = first(TO_WEB).route.retry_policy
    assert retry.num_retries.value == 2
    expected = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
    assert retry.retry_on == expected
    assert retry.host_selection_retry_max_attempts == 5
    assert [one.name for one in retry.retry_host_predicate] == [
        "envoy.retry_host_predicates.previous_hosts"
    ]


def test_retries_as_written() -> None:
    wanted = Retries(attempts=3, per_try_timeout=250, retry_on="503,reset, 429")
    retry = first(structs.replace(TO_WEB, retries=wanted)).route.retry_policy
    assert retry.retry_on == "reset,retriable-status-codes"
    assert list(retry.retriable_status_codes) == [503, 429]
    assert retry.per_try_timeout.ToMilliseconds() == 250
    never = first(structs.replace(TO_WEB, retries=Retries(attempts=0)))
    assert not never.route.HasField("retry_policy")


def test_the_meshs_retries_hold_where_a_route_says_nothing() -> None:
    settings = MeshSettings(default_retries=Retries(attempts=7))
    found = routes(WEB, OTHER, settings, http(TO_WEB))["80"]
    counts = {
        one.routes[0].route.retry_policy.num_retries.value for one in found.virtual_hosts[:-1]
    }
    assert counts == {7}


HASHED = host_policy(
    "p",
    OTHER.host,
    policy=TrafficPolicy(
        load_balancing=LoadBalancing(consistent_hash=ConsistentHash(header="x-user"))
    ),
    subsets=(Subset("v1"),),
)


@pytest.mark.parametrize(
    ("destinations", "elsewhere"),
    [((to(OTHER.host),), False), ((to(OTHER.host, 50), to(WEB.host, 50)), True)],
)
def test_a_hash_keeps_its_host_only_where_there_is_one_destination(
    destinations: tuple[WeightedDestination, ...], elsewhere: bool
) -> None:
    rule = HttpRoute(destinations=destinations)
    found = hosts(routes(WEB, OTHER, HASHED, http(rule))["80"])
    action = found[f"{WEB.host}:80"].routes[0].route
    assert [policy.header.header_name for policy in action.hash_policy] == ["x-user"]
    assert bool(action.retry_policy.retry_host_predicate) is elsewhere
    default = found[f"{OTHER.host}:80"].routes[0].route
    assert default.hash_policy
    assert default.retry_policy.retry_host_predicate


def test_no_timeout_unless_one_is_written() -> None:
    assert first(TO_WEB).route.HasField("timeout")
    assert first(TO_WEB).route.timeout.ToMilliseconds() == 0
    slow = first(structs.replace(TO_WEB, timeout=1500)).route
    assert slow.timeout.ToMilliseconds() == slow.max_grpc_timeout.ToMilliseconds() == 1500


def test_a_set_authority_is_a_rewrite_and_never_a_header() -> None:
    headers = HeaderOperations(request_set={"Host": "api.example.com", ":path": "/", "x": "1"})
    found = first(structs.replace(TO_WEB, headers=headers))
    assert found.route.host_rewrite_literal == "api.example.com"
    assert [option.header.key for option in found.request_headers_to_add] == ["x"]


@pytest.mark.parametrize(
    ("redirect", "expected"),
    [
        (Redirect(port=80), 0),
        (Redirect(port=443, scheme="https"), 0),
        (Redirect(port=443), 443),
        (Redirect(derive_port="FROM_REQUEST_PORT", scheme="https"), 80),
        (Redirect(derive_port="FROM_PROTOCOL_DEFAULT"), 0),
    ],
)
def test_the_port_of_a_redirect(redirect: Redirect, expected: int) -> None:
    assert first(HttpRoute(redirect=redirect)).redirect.port_redirect == expected


def test_an_answer_of_bytes_that_are_no_text_is_an_answer() -> None:
    found = first(HttpRoute(direct_response=DirectResponse(200, b"\xff\x00")))
    assert found.direct_response.body.inline_bytes == b"\xff\x00"


def test_mirrors_of_nothing_disappear() -> None:
    mirrors = (Mirror(Destination(OTHER.host), 0.0), Mirror(Destination(OTHER.host), 0.5))
    (found,) = first(structs.replace(TO_WEB, mirrors=mirrors)).route.request_mirror_policies
    assert found.runtime_fraction.default_value.numerator == 5000


def test_faults_are_on_the_route() -> None:
    broken = structs.replace(TO_WEB, fault=Fault(abort=Abort(grpc_status="UNAVAILABLE")))
    config = HTTPFault()
    first(broken).typed_per_filter_config["envoy.filters.http.fault"].Unpack(config)
    assert config.abort.grpc_status == 14
    assert config.abort.percentage.numerator == 1_000_000


def test_a_claim_is_never_a_header() -> None:
    claim = NamedMatch("@request.auth.claims.groups", StringMatch(MatchKind.EXACT, "admin"))
    guarded = structs.replace(TO_WEB, matches=(HttpMatch(headers=(claim,)),))
    found = first(guarded).match
    assert not found.headers
    (metadata,) = found.dynamic_metadata
    assert [segment.key for segment in metadata.path] == ["payload", "groups"]
