"""Rules of the state-of-the-world protocol."""

from collections.abc import Iterable

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse

from libs.xds.stream.events import Acked, Nacked, Stale
from libs.xds.stream.responses import MAX_RECALLED, Responses
from libs.xds.stream.sotw import SotwSession
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.support.snapshots import snapshot


def _session() -> SotwSession:
    return SotwSession(Responses(control_plane="seine"))


def _ask(
    session: SotwSession,
    type_url: str,
    *names: str,
    to: DiscoveryResponse | None = None,
    refusal: str = "",
) -> list[DiscoveryResponse]:
    request = DiscoveryRequest(type_url=type_url, resource_names=names)
    if to is not None:
        request.response_nonce = to.nonce
        request.version_info = to.version_info
    if refusal:
        request.error_detail.message = refusal
    return _read(session.on_request(request))


def _read(bodies: Iterable[bytes]) -> list[DiscoveryResponse]:
    return [DiscoveryResponse.FromString(body) for body in bodies]


def _values(response: DiscoveryResponse) -> list[bytes]:
    return [item.value for item in response.resources]


def test_clusters_come_whole_whenever_one_of_them_changes() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1", "b": "1"}}), 1)
    (first,) = _ask(session, CLUSTER)
    assert _ask(session, CLUSTER, to=first) == []

    (second,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "1", "b": "2"}}), 2))
    assert _values(second) == [b"a:1", b"b:2"]
    assert first.version_info != second.version_info
    assert second.control_plane.identifier == "seine"
    (third,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "1"}}), 3))
    assert _values(third) == [b"a:1"]


def test_of_named_types_only_what_changed_comes() -> None:
    session = _session()
    session.on_snapshot(snapshot({ROUTE: {"80": "1", "81": "1"}}), 1)
    (first,) = _ask(session, ROUTE, "80", "81")
    assert _values(first) == [b"80:1", b"81:1"]

    (second,) = _read(session.on_snapshot(snapshot({ROUTE: {"80": "1", "81": "2"}}), 2))
    assert _values(second) == [b"81:2"]
    assert session.on_snapshot(snapshot({ROUTE: {"81": "2"}}), 3) == []


def test_new_names_are_answered_alone_and_fewer_names_not_at_all() -> None:
    session = _session()
    session.on_snapshot(snapshot({ROUTE: {"80": "1", "81": "1"}}), 1)
    (first,) = _ask(session, ROUTE, "80")

    (second,) = _ask(session, ROUTE, "80", "81", to=first)
    assert _values(second) == [b"81:1"]
    assert _ask(session, ROUTE, "80", to=second) == []
    assert session.on_snapshot(snapshot({ROUTE: {"80": "1", "81": "2"}}), 2) == []


def test_a_request_with_a_stale_nonce_is_ignored() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}}), 1)
    (first,) = _ask(session, CLUSTER)
    (second,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "2"}}), 2))
    session.take_events()

    assert _ask(session, CLUSTER, "a", to=first) == []
    assert _ask(session, CLUSTER, "a", to=DiscoveryResponse(nonce="bogus")) == []
    assert session.take_events() == [Acked(CLUSTER, "1", 1), Stale(CLUSTER, "bogus")]
    assert session.watches[CLUSTER].wanted.wildcard
    _ask(session, CLUSTER, to=second)
    assert session.take_events() == [Acked(CLUSTER, "2", 2)]


def test_what_was_dropped_in_an_ignored_request_is_sent_when_it_is_wanted_again() -> None:
    session = _session()
    session.on_snapshot(snapshot({ROUTE: {"80": "1", "81": "1"}}), 1)
    (first,) = _ask(session, ROUTE, "80", "81")
    (second,) = _read(session.on_snapshot(snapshot({ROUTE: {"80": "2", "81": "1"}}), 2))

    assert _ask(session, ROUTE, "80", to=first) == []
    assert _ask(session, ROUTE, "80", "81", to=first) == []
    (again,) = _ask(session, ROUTE, "80", "81", to=second)
    assert _values(again) == [b"81:1"]


def test_a_refusal_is_recorded_and_not_answered() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}}), 1)
    (first,) = _ask(session, CLUSTER)
    session.take_events()

    assert _ask(session, CLUSTER, to=first, refusal="no") == []
    (event,) = session.take_events()
    assert isinstance(event, Nacked)
    assert (event.text, event.resources) == ("no", ("a",))
    assert session.on_snapshot(snapshot({CLUSTER: {"a": "1"}}), 2) == []


def test_a_changed_cluster_brings_its_endpoints_again() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}}), 1)
    _ask(session, CLUSTER)
    _ask(session, ENDPOINT, "a")

    clusters, again = _read(
        session.on_snapshot(snapshot({CLUSTER: {"a": "2"}, ENDPOINT: {"a": "1"}}), 2)
    )
    assert (clusters.type_url, again.type_url) == (CLUSTER, ENDPOINT)
    assert _values(again) == [b"a:1"]


def test_listeners_can_be_asked_for_by_name() -> None:
    session = _session()
    session.on_snapshot(snapshot({LISTENER: {"x": "1", "y": "1"}}), 1)

    (first,) = _ask(session, LISTENER, "x")
    assert _values(first) == [b"x:1"]
    assert session.on_snapshot(snapshot({LISTENER: {"x": "1", "y": "2"}}), 2) == []


def test_routes_wait_for_clusters_and_clusters_are_left_out_when_routes_are_answered() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}, ROUTE: {"80": "a"}}), 1)
    (clusters,) = _ask(session, CLUSTER)
    _ask(session, CLUSTER, to=clusters)
    (routes,) = _ask(session, ROUTE, "80")
    _ask(session, ROUTE, "80", to=routes)
    assert not session.held

    after = snapshot({CLUSTER: {"b": "1"}, ROUTE: {"80": "b"}})
    (arrival,) = _read(session.on_snapshot(after, 2))
    assert _values(arrival) == [b"b:1", b"a:1"]
    (routes,) = _ask(session, CLUSTER, to=arrival)
    assert _values(routes) == [b"80:b"]
    (removal,) = _ask(session, ROUTE, "80", to=routes)
    assert _values(removal) == [b"b:1"]
    assert not session.held


def test_endpoints_of_clusters_that_leave_stay_with_them() -> None:
    session = _session()
    session.on_snapshot(
        snapshot({CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}, ROUTE: {"80": "a"}}), 1
    )
    (clusters,) = _ask(session, CLUSTER)
    _ask(session, CLUSTER, to=clusters)
    (routes,) = _ask(session, ROUTE, "80")
    _ask(session, ROUTE, "80", to=routes)
    (endpoints,) = _ask(session, ENDPOINT, "a")
    after = {CLUSTER: {"b": "1"}, ENDPOINT: {"b": "1"}, ROUTE: {"80": "b"}}
    session.on_snapshot(snapshot(after), 2)

    (more,) = _ask(session, ENDPOINT, "a", "b", to=endpoints)
    assert _values(more) == [b"b:1"]
    assert "a" in session.watches[ENDPOINT].applied.resources


def test_endpoints_are_there_for_a_cluster_that_left_before_they_were_asked_for() -> None:
    """It stays until routes are answered, and these wait for it: without endpoints for ever."""
    session = _session()
    before = {CLUSTER: {"a": "1", "b": "1"}, ENDPOINT: {"a": "1", "b": "1"}, ROUTE: {"80": "a"}}
    session.on_snapshot(snapshot(before), 1)
    (clusters,) = _ask(session, CLUSTER)
    assert _ask(session, ROUTE, "80") == []
    after = {CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}, ROUTE: {"80": "a"}}
    assert session.on_snapshot(snapshot(after), 2) == []

    (endpoints,) = _ask(session, ENDPOINT, "a", "b")
    assert _values(endpoints) == [b"a:1", b"b:1"]
    (routes,) = _ask(session, CLUSTER, to=clusters)
    (removal,) = _ask(session, ROUTE, "80", to=routes)
    assert _values(removal) == [b"a:1"]
    assert not session.held


def test_clusters_that_left_while_a_client_was_away_stay_until_it_has_its_listeners() -> None:
    responses = Responses()
    before, after = {"a": "1", "gone": "1"}, {"a": "1", "new": "1"}
    first = SotwSession(responses)
    first.on_snapshot(snapshot({CLUSTER: before, LISTENER: {"l": "gone"}}), 1)
    (had,) = _ask(first, CLUSTER)

    back = SotwSession(responses)
    back.on_snapshot(snapshot({CLUSTER: after, LISTENER: {"l": "a"}}), 2)
    reconnect = DiscoveryRequest(type_url=CLUSTER, version_info=had.version_info)
    (clusters,) = _read(back.on_request(reconnect))
    assert _values(clusters) == [b"a:1", b"new:1", b"gone:1"]
    (listeners,) = _ask(back, LISTENER)
    assert _ask(back, CLUSTER, to=clusters) == []
    (last,) = _ask(back, LISTENER, to=listeners)
    assert (last.type_url, _values(last)) == (CLUSTER, [b"a:1", b"new:1"])
    assert not back.held


def test_a_version_that_is_not_remembered_is_that_of_a_new_client() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}, LISTENER: {"l": "1"}}), 1)
    reconnect = DiscoveryRequest(type_url=CLUSTER, version_info="of another mesh")
    (clusters,) = _read(session.on_request(reconnect))
    assert _values(clusters) == [b"a:1"]


def test_so_many_versions_are_remembered_and_no_more() -> None:
    responses = Responses()
    versions = []
    for number in range(MAX_RECALLED + 1):
        session = SotwSession(responses)
        session.on_snapshot(snapshot({CLUSTER: {"a": str(number)}}), 1)
        (answer,) = _ask(session, CLUSTER)
        versions.append(answer.version_info)
    known = [responses.recalled(it) is not None for it in versions]
    assert known == [False] + [True] * MAX_RECALLED


def test_a_cluster_that_stays_for_a_client_that_is_back_has_its_endpoints() -> None:
    responses = Responses()
    first = SotwSession(responses)
    before = {CLUSTER: {"gone": "1"}, ENDPOINT: {"gone": "1"}, LISTENER: {"l": "gone"}}
    first.on_snapshot(snapshot(before), 1)
    (had,) = _ask(first, CLUSTER)  # and the connection ends while it warms

    back = SotwSession(responses)
    after = {CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}, LISTENER: {"l": "a"}}
    back.on_snapshot(snapshot(after), 2)
    _read(back.on_request(DiscoveryRequest(type_url=CLUSTER, version_info=had.version_info)))
    (endpoints,) = _ask(back, ENDPOINT, "a", "gone")
    assert _values(endpoints) == [b"a:1", b"gone:1"]
