from libs.model.traffic import HttpMatch, HttpRoute, Routing, StreamMatch, StreamRoute
from libs.proxy.routings import RoutingIndex, prune
from tests.support.mesh import routing

HOST = "web.shop.svc.cluster.local"


def http(*matches: HttpMatch) -> Routing:
    return routing("r", HOST, http=(HttpRoute(matches=matches),))


def kept(pruned: Routing) -> int:
    return sum(len(route.matches) for route in pruned.http)


def test_private_comes_first_then_exported_then_public_and_the_oldest_among_each() -> None:
    rows = [
        routing("new", HOST, created=9),
        routing("old", HOST, created=1),
        routing("exported", HOST, namespace="b", export_to=("a",), created=5),
        routing("private", HOST, namespace="a", export_to=(".",), created=7),
        routing("hidden", HOST, export_to=("~",)),
        routing("entrance", HOST, gateways=("shop/entrance",)),
    ]
    index = RoutingIndex(rows, ("*",))
    assert [row.name for row in index.seen_from("a")] == ["private", "exported", "old", "new"]
    assert [row.name for row in index.seen_from("c")] == ["old", "new"]


def test_what_is_said_of_others_hosts_holds_at_home_only() -> None:
    mine, theirs = "mine.evil.svc.cluster.local", HOST
    both = routing("both", mine, theirs, namespace="evil", others=(theirs,))
    only = routing("only", theirs, namespace="evil", others=(theirs,), export_to=("*",))
    sent = routing("sent", theirs, namespace="evil", others=(theirs,), export_to=("a",))
    hidden = routing("hidden", theirs, namespace="evil", others=(theirs,), export_to=("~",))
    index = RoutingIndex([both, only, sent, hidden], ("*",))
    assert [(row.name, row.hosts) for row in index.seen_from("a")] == [("both", (mine,))]
    at_home = [("both", (mine, theirs)), ("only", (theirs,))]
    assert [(row.name, row.hosts) for row in index.seen_from("evil")] == at_home
    assert index.seen_from("a")[0] is index.seen_from("b")[0]


def test_equally_old_routings_go_by_name() -> None:
    index = RoutingIndex([routing("b", HOST), routing("a", HOST)], ("*",))
    assert [row.name for row in index.seen_from("x")] == ["a", "b"]


def test_what_no_request_of_the_client_can_meet_is_left_out() -> None:
    mine = HttpMatch(source_labels={"app": "me"}, source_namespace="shop")
    written = http(
        mine,
        HttpMatch(source_labels={"app": "other"}),
        HttpMatch(source_namespace="elsewhere"),
        HttpMatch(gateways=("shop/entrance",)),
    )
    pruned = prune(written, "shop", {"app": "me"})
    assert pruned.http[0].matches == (HttpMatch(),)
    assert prune(written, "shop", {"app": "nobody"}).http == ()


def test_an_http_match_that_names_the_mesh_is_for_every_client() -> None:
    assert kept(prune(http(HttpMatch(gateways=("mesh",), source_labels={"a": "b"})), "x", {})) == 1


def test_a_stream_match_that_names_the_mesh_still_looks_at_the_client() -> None:
    match = StreamMatch(gateways=("mesh",), source_labels={"a": "b"})
    written = routing("r", HOST, tcp=(StreamRoute(matches=(match,)),))
    assert prune(written, "x", {}).tcp == ()
    assert prune(written, "x", {"a": "b"}).tcp[0].matches == (StreamMatch(),)


def test_a_route_without_matches_is_for_everybody_and_nothing_is_copied() -> None:
    written = http()
    assert prune(written, "x", {}) is written


def test_which_labels_can_matter_is_known() -> None:
    rows = [http(HttpMatch(source_labels={"app": "a"}))]
    assert RoutingIndex(rows, ("*",)).source_labels == {"app"}
