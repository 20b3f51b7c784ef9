"""Rules of the incremental protocol, one by one; their interplay is in tests/protocol."""

from collections.abc import Iterable

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.errors import LimitExceededError, MalformedRequestError
from libs.xds.stream.events import Acked, Event, Nacked, Sent, Stale
from libs.xds.stream.limits import Limits
from libs.xds.stream.responses import Responses
from libs.xds.stream.session import MAX_AWAITED
from libs.xds.types import CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, SECRET
from tests.support.snapshots import snapshot


def _session(**limits: int) -> DeltaSession:
    return DeltaSession(Responses(), Limits(**limits))


def _ask(
    session: DeltaSession, type_url: str, *names: str, **fields: object
) -> list[DeltaDiscoveryResponse]:
    request = DeltaDiscoveryRequest(
        type_url=type_url,
        resource_names_subscribe=names,
        **fields,  # type: ignore[arg-type]
    )
    return _read(session.on_request(request))


def _read(bodies: Iterable[bytes]) -> list[DeltaDiscoveryResponse]:
    return [DeltaDiscoveryResponse.FromString(body) for body in bodies]


def _nack(session: DeltaSession, to: DeltaDiscoveryResponse, text: str) -> list[object]:
    request = DeltaDiscoveryRequest(type_url=to.type_url, response_nonce=to.nonce)
    request.error_detail.message = text
    return list(_read(session.on_request(request)))


def _ack(session: DeltaSession, to: DeltaDiscoveryResponse) -> list[DeltaDiscoveryResponse]:
    return _ask(session, to.type_url, response_nonce=to.nonce)


def _names(response: DeltaDiscoveryResponse) -> list[str]:
    return [item.name for item in response.resources]


def _of(kind: type[Event], session: DeltaSession) -> list[Event]:
    return [event for event in session.take_events() if isinstance(event, kind)]


def test_nothing_is_answered_before_there_is_a_snapshot_and_then_all_of_it() -> None:
    session = _session()
    assert _ask(session, LISTENER) == []
    assert _ask(session, CLUSTER) == []

    (first,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "1"}, LISTENER: {"l": "a"}}), 1))
    (second,) = _ack(session, first)
    assert (first.type_url, _names(first)) == (CLUSTER, ["a"])
    assert (second.type_url, _names(second)) == (LISTENER, ["l"])
    assert first.resources[0].resource.value == b"a:1"
    assert first.resources[0].resource.type_url == CLUSTER


def test_the_first_request_is_answered_even_with_a_nonce_and_even_if_nothing_differs() -> None:
    session = _session()
    current = snapshot({CLUSTER: {"a": "1"}})
    session.on_snapshot(current, 1)
    version = current.of(CLUSTER).resources["a"].version

    (answer,) = _ask(
        session, CLUSTER, response_nonce="old", initial_resource_versions={"a": version}
    )
    assert _names(answer) == []
    assert not answer.removed_resources


def test_reported_versions_save_what_is_equal_and_remove_what_is_gone() -> None:
    session = _session()
    current = snapshot({CLUSTER: {"a": "1", "b": "1"}, LISTENER: {}})
    session.on_snapshot(current, 1)
    reported = {"a": current.of(CLUSTER).resources["a"].version, "b": "other", "gone": "1"}

    (answer,) = _ask(session, CLUSTER, initial_resource_versions=reported)
    assert _names(answer) == ["b"]
    assert not answer.removed_resources  # its routes have not been compared yet
    (listeners,) = _ask(session, LISTENER)
    assert session.held
    (removal,) = _ack(session, listeners)
    assert (removal.type_url, list(removal.removed_resources)) == (CLUSTER, ["gone"])
    assert not session.held


def test_endpoints_come_whole_after_a_reconnect_because_clusters_may_wait_for_them() -> None:
    session = _session()
    current = snapshot({CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}})
    session.on_snapshot(current, 1)
    reported = {"a": current.of(ENDPOINT).resources["a"].version}

    (answer,) = _ask(session, ENDPOINT, "a", initial_resource_versions=reported)
    assert _names(answer) == ["a"]


def test_a_change_sends_only_what_differs_and_names_what_is_gone() -> None:
    session = _session()
    session.on_snapshot(snapshot({LISTENER: {"a": "1", "b": "1", "c": "1"}}), 1)
    _ask(session, LISTENER)

    (answer,) = _read(session.on_snapshot(snapshot({LISTENER: {"a": "1", "b": "2"}}), 2))
    assert (answer.nonce, _names(answer), list(answer.removed_resources)) == ("2", ["b"], ["c"])
    assert session.on_snapshot(snapshot({LISTENER: {"a": "1", "b": "2"}}), 3) == []


def test_a_subscription_is_answered_with_its_names_alone() -> None:
    session = _session()
    session.on_snapshot(snapshot({ROUTE: {"80": "1", "81": "1", "82": "1"}}), 1)
    _ask(session, ROUTE, "80")

    (answer,) = _ask(session, ROUTE, "81", "absent")
    assert _names(answer) == ["81"]
    assert list(answer.removed_resources) == ["absent"]


def test_unsubscribing_is_not_answered_and_stops_updates() -> None:
    session = _session()
    session.on_snapshot(snapshot({ROUTE: {"80": "1"}}), 1)
    _ask(session, ROUTE, "80")

    assert _ask(session, ROUTE, resource_names_unsubscribe=["80"]) == []
    assert session.on_snapshot(snapshot({ROUTE: {"80": "2"}}), 2) == []


def test_naming_nothing_means_everything_only_for_types_that_come_whole() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}, ROUTE: {"80": "1"}}), 1)

    (clusters,) = _ask(session, CLUSTER)
    assert _names(clusters) == ["a"]
    _ack(session, clusters)
    assert _names(_ask(session, ROUTE)[0]) == []


def test_an_explicit_wildcard_can_be_left_and_taken_up_again() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1", "b": "1"}}), 1)
    assert _names(_ask(session, CLUSTER, "*", "a")[0]) == ["a", "b"]

    assert _ask(session, CLUSTER, resource_names_unsubscribe=["*"]) == []
    (answer,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "2", "b": "2"}}), 2))
    assert _names(answer) == ["a"]
    assert _names(_ask(session, CLUSTER, "*")[0]) == ["a", "b"]


def test_a_stale_nonce_is_ignored_but_what_it_subscribes_to_is_not() -> None:
    session = _session()
    session.on_snapshot(snapshot({ROUTE: {"80": "1", "81": "1"}}), 1)
    _ask(session, ROUTE, "80")
    session.take_events()

    assert _ask(session, ROUTE, response_nonce="other") == []
    assert session.take_events() == [Stale(ROUTE, "other")]
    assert _names(_ask(session, ROUTE, "81", response_nonce="other")[0]) == ["81"]


def test_each_response_is_acknowledged_by_itself_even_late() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}}), 1)
    (first,) = _ask(session, CLUSTER)
    (second,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "2"}}), 2))
    session.take_events()

    _ack(session, first)
    _ack(session, second)
    assert session.take_events() == [Acked(CLUSTER, "1", 1), Acked(CLUSTER, "2", 2)]
    assert session.watches[CLUSTER].ledger.waiting == 0


def test_a_refusal_is_not_answered_and_the_version_not_sent_again() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1", "b": "1"}}), 1)
    (first,) = _ask(session, CLUSTER)
    session.take_events()

    assert _nack(session, first, "Error adding/updating cluster(s) b: no") == []
    (refused,) = session.take_events()
    assert isinstance(refused, Nacked)
    assert (refused.resources, refused.sources) == (("b",), ("VirtualService/shop/b",))
    assert session.on_snapshot(snapshot({CLUSTER: {"a": "1", "b": "1"}}), 2) == []
    (mended,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "1", "b": "2"}}), 3))
    assert _names(mended) == ["b"]


@pytest.mark.parametrize("type_url", [ENDPOINT, ROUTE])
def test_where_envoy_stops_at_the_first_error_the_innocent_are_sent_once_more(
    type_url: str,
) -> None:
    session = _session()
    session.on_snapshot(snapshot({type_url: {"a": "1", "b": "1", "c": "1"}}), 1)
    (first,) = _ask(session, type_url, "a", "b", "c")

    (again,) = _nack(session, first, "'b' is wrong")
    assert _names(again) == ["a", "c"]  # type: ignore[arg-type]
    assert _nack(session, again, "everything is wrong") == []  # type: ignore[arg-type]


def test_a_refusal_that_names_nothing_blames_the_only_resource_or_none() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1", "b": "1"}}), 1)
    (both,) = _ask(session, CLUSTER)
    (one,) = _read(session.on_snapshot(snapshot({CLUSTER: {"a": "2", "b": "1"}}), 2))
    session.take_events()

    _nack(session, both, "no")
    _nack(session, one, "no")
    blamed = [event.resources for event in _of(Nacked, session) if isinstance(event, Nacked)]
    assert blamed == [(), ("a",)]


def _following() -> DeltaSession:
    """Return a session whose client follows all types and has answered all it was sent."""
    session = _session()
    session.on_snapshot(snapshot(_BEFORE), 1)
    for type_url, name in ((ROUTE, "r"), (LISTENER, "*"), (ENDPOINT, "a"), (CLUSTER, "*")):
        for answer in _ask(session, type_url, name):
            _ack(session, answer)
    assert not session.held
    return session


_BEFORE = {CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}, LISTENER: {"l": "a"}, ROUTE: {"r": "a"}}
_AFTER = {CLUSTER: {"b": "1"}, ENDPOINT: {"a": "2"}, LISTENER: {"l": "b"}, ROUTE: {"r": "b"}}
"""Listeners and routes say which cluster they name."""


def test_routes_wait_for_clusters_and_clusters_leave_when_routes_are_answered() -> None:
    session = _following()
    arrival, endpoints = _read(session.on_snapshot(snapshot(_AFTER), 2))
    assert (_names(arrival), list(arrival.removed_resources)) == (["b"], [])
    assert endpoints.type_url == ENDPOINT
    assert session.held
    assert _ack(session, endpoints) == []

    listeners, routes = _ack(session, arrival)
    assert [listeners.type_url, routes.type_url] == [LISTENER, ROUTE]
    assert _ack(session, routes) == []
    (removal,) = _ack(session, listeners)
    assert (removal.type_url, list(removal.removed_resources)) == (CLUSTER, ["a"])
    assert not session.held


def test_a_refusal_of_clusters_or_routes_ends_the_wait_as_well() -> None:
    session = _following()
    arrival, _ = _read(session.on_snapshot(snapshot(_AFTER), 2))

    listeners, routes = _nack(session, arrival, "no")
    assert _nack(session, listeners, "no") == []
    (removal,) = _nack(session, routes, "no")
    assert list(removal.removed_resources) == ["a"]


def test_what_is_held_can_be_released_stage_by_stage() -> None:
    session = _following()
    assert session.release() == []
    session.on_snapshot(snapshot(_AFTER), 2)

    assert [answer.type_url for answer in _read(session.release())] == [LISTENER, ROUTE]
    assert session.held
    (removal,) = _read(session.release())
    assert list(removal.removed_resources) == ["a"]
    assert not session.held


def test_a_newer_snapshot_replaces_what_is_held_and_waits_for_both() -> None:
    session = _following()
    first_arrival, _ = _read(session.on_snapshot(snapshot(_AFTER), 2))
    more = {LISTENER: {"l": "c"}, ROUTE: {"r": "c"}}
    newest = {**_AFTER, CLUSTER: {"a": "1", "c": "1"}, **more}
    (second_arrival,) = _read(session.on_snapshot(snapshot(newest), 3))

    assert _ack(session, first_arrival) == []
    _, routes = _ack(session, second_arrival)
    assert routes.resources[0].resource.value == b"r:c"


def test_a_snapshot_that_takes_the_change_back_leaves_nothing_held() -> None:
    session = _following()
    session.on_snapshot(snapshot(_AFTER), 2)
    session.on_snapshot(snapshot({**_BEFORE, CLUSTER: {"a": "1", "b": "1"}}), 3)
    assert not session.held


def test_while_routes_are_held_a_name_is_answered_as_it_was_and_a_new_one_waits() -> None:
    session = _following()
    more = {**_AFTER, ROUTE: {"r": "b", "new": "b"}}
    arrival, _ = _read(session.on_snapshot(snapshot(more), 2))

    (old,) = _ask(session, ROUTE, "r", "new")
    assert [item.resource.value for item in old.resources] == [b"r:a"]
    assert not old.removed_resources
    (absent,) = _ask(session, ROUTE, "absent")
    assert list(absent.removed_resources) == ["absent"]
    _, routes = _ack(session, arrival)
    assert sorted(_names(routes)) == ["new", "r"]


def test_what_is_wanted_again_while_clusters_warm_comes_when_they_are_warm() -> None:
    session = _following()
    _ask(session, LISTENER, resource_names_unsubscribe=["*"])
    _ask(session, ROUTE, resource_names_unsubscribe=["r"])
    more = {**_BEFORE, CLUSTER: {"a": "1", "b": "1"}, LISTENER: {"l": "b"}, ROUTE: {"r": "b"}}
    (arrival,) = _read(session.on_snapshot(snapshot(more), 2))
    assert not session.held  # nobody wants what would wait

    _ask(session, LISTENER, "*")
    _ask(session, ROUTE, "r")
    assert session.held
    listeners, routes = _ack(session, arrival)
    assert listeners.resources[0].resource.value == b"l:b"
    assert routes.resources[0].resource.value == b"r:b"


def test_what_is_left_and_wanted_again_before_the_first_answer_is_sent_again() -> None:
    before = snapshot({**_BEFORE, LISTENER: {"l": "1", "m": "a"}})
    version = before.of(LISTENER).resources["l"].version
    session = _session()
    session.on_snapshot(before, 1)
    (clusters,) = _ask(session, CLUSTER)
    assert _ask(session, LISTENER, initial_resource_versions={"l": version}) == []
    assert _ask(session, LISTENER, resource_names_unsubscribe=["*"]) == []
    assert _ask(session, LISTENER, "l") == []

    (listeners,) = _ack(session, clusters)
    assert _names(listeners) == ["l"]


def test_the_first_request_of_listeners_waits_for_clusters_on_their_way() -> None:
    session = _session()
    session.on_snapshot(snapshot(_BEFORE), 1)
    (clusters,) = _ask(session, CLUSTER)
    (endpoints,) = _ask(session, ENDPOINT, "a")
    assert _ask(session, LISTENER) == []

    (listeners,) = _ack(session, clusters)
    assert (endpoints.type_url, listeners.type_url) == (ENDPOINT, LISTENER)


def test_endpoints_first_asked_for_while_they_leave_are_taken_away_in_their_turn() -> None:
    session = _session()
    session.on_snapshot(snapshot({**_BEFORE, CLUSTER: {}}), 1)
    _ask(session, CLUSTER)
    (listeners,) = _ask(session, LISTENER)
    (arrival,) = _read(session.on_snapshot(snapshot({**_BEFORE, ENDPOINT: {}}), 2))
    _ack(session, arrival)

    (endpoints,) = _ask(session, ENDPOINT, "a")
    assert _names(endpoints) == ["a"]  # what names them may still be on its way
    assert session.held
    (removal,) = _ack(session, listeners)
    assert (removal.type_url, list(removal.removed_resources)) == (ENDPOINT, ["a"])


def test_without_gates_everything_goes_out_at_once_and_clusters_leave_last() -> None:
    session = DeltaSession(Responses(), gated=False)
    session.on_snapshot(snapshot(_BEFORE), 1)
    for type_url, name in ((ROUTE, "r"), (LISTENER, "*"), (ENDPOINT, "a"), (CLUSTER, "*")):
        _ask(session, type_url, name)

    answers = _read(session.on_snapshot(snapshot(_AFTER), 2))
    assert [answer.type_url for answer in answers] == [CLUSTER, ENDPOINT, LISTENER, ROUTE, CLUSTER]
    assert list(answers[-1].removed_resources) == ["a"]


def test_the_first_clusters_bring_all_watched_endpoints_again() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1", "b": "1"}}), 1)
    _ask(session, ENDPOINT, "a", "b")

    clusters, again = _ask(session, CLUSTER)
    assert _names(clusters) == ["a"]
    assert (again.type_url, _names(again)) == (ENDPOINT, ["a", "b"])


def test_extensions_are_never_taken_away_because_draining_listeners_use_them() -> None:
    session = _session()
    session.on_snapshot(snapshot({EXTENSION: {"a": "1", "b": "1"}}), 1)
    _ask(session, EXTENSION, "a", "b")

    (answer,) = _read(session.on_snapshot(snapshot({EXTENSION: {"a": "2"}}), 2))
    assert (_names(answer), list(answer.removed_resources)) == (["a"], [])


def test_a_changed_cluster_brings_its_endpoints_again() -> None:
    session = _session()
    session.on_snapshot(
        snapshot({CLUSTER: {"a": "1", "b": "1"}, ENDPOINT: {"a": "1", "b": "1"}}), 1
    )
    _ask(session, CLUSTER)
    _ask(session, ENDPOINT, "a", "b")

    clusters, again = _read(
        session.on_snapshot(
            snapshot({CLUSTER: {"a": "1", "b": "2"}, ENDPOINT: {"a": "1", "b": "1"}}), 2
        )
    )
    assert _names(clusters) == ["b"]
    assert (again.type_url, _names(again)) == (ENDPOINT, ["b"])


def test_a_type_that_could_not_be_made_keeps_what_was_sent_and_is_answered_once_it_can() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}}), 1)
    _ack(session, _ask(session, CLUSTER)[0])
    assert _ask(session, LISTENER) == []

    assert session.on_snapshot(snapshot({}), 2) == []
    (answer,) = _read(session.on_snapshot(snapshot({LISTENER: {"l": "1"}}), 3))
    assert (answer.type_url, _names(answer)) == (LISTENER, ["l"])


def test_streams_to_which_the_same_is_said_get_the_same_bytes_object() -> None:
    responses = Responses()
    sessions = [DeltaSession(responses) for _ in range(3)]
    first, second = (
        snapshot({CLUSTER: {"a": "1", "b": "1"}, ENDPOINT: {"a": "1", "b": "1"}}),
        snapshot({CLUSTER: {"a": "2"}, ENDPOINT: {"a": "2"}}),
    )
    for session in sessions:
        _ask(session, CLUSTER)
        _ask(session, ENDPOINT, "b", "a")
    for push, current in enumerate((first, second), 1):
        bodies = [session.on_snapshot(current, push) for session in sessions]
        assert len(bodies[0]) > 1
        for other in bodies[1:]:
            assert all(one is two for one, two in zip(bodies[0], other, strict=True))


def test_secrets_are_remembered_nowhere_but_on_their_stream() -> None:
    responses = Responses()
    session = DeltaSession(responses)
    session.on_snapshot(snapshot({SECRET: {"a": "key"}, ROUTE: {"a": "1"}}), 1)
    _ask(session, SECRET, "a")
    _ask(session, ROUTE, "a")
    session.on_snapshot(snapshot({SECRET: {"a": "new key"}, ROUTE: {"a": "2"}}), 2)

    remembered = repr(vars(responses))
    assert "a:2" in remembered
    assert "key" not in remembered


def test_events_say_what_was_sent() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}}), 7)
    body = session.on_request(DeltaDiscoveryRequest(type_url=CLUSTER))[0]

    assert session.take_events() == [
        Sent(CLUSTER, "7", 7, resources=1, removed=0, size=len(body), full=True)
    ]


def test_what_is_never_answered_does_not_pile_up() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "0"}}), 0)
    _ask(session, CLUSTER)
    for number in range(1, 200):
        session.on_snapshot(snapshot({CLUSTER: {"a": str(number)}}), number)

    assert session.watches[CLUSTER].ledger.waiting <= 64


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (DeltaDiscoveryRequest(), MalformedRequestError),
        (DeltaDiscoveryRequest(type_url="x" * 300), MalformedRequestError),
        (
            DeltaDiscoveryRequest(type_url=ROUTE, resource_names_subscribe=["n" * 5000]),
            MalformedRequestError,
        ),
        (
            DeltaDiscoveryRequest(type_url=ROUTE, resource_names_subscribe=["a", "b", "c"]),
            LimitExceededError,
        ),
        (
            DeltaDiscoveryRequest(
                type_url=ROUTE, initial_resource_versions={"a": "", "b": "", "c": ""}
            ),
            LimitExceededError,
        ),
    ],
)
def test_a_request_beyond_the_limits_is_an_error(
    request_: DeltaDiscoveryRequest, error: type[Exception]
) -> None:
    with pytest.raises(error):
        _session(names=2).on_request(request_)


def test_names_and_types_add_up_over_requests() -> None:
    session = _session(names=2, types=2)
    _ask(session, ROUTE, "a", "b")
    with pytest.raises(LimitExceededError):
        _ask(session, ROUTE, "c")
    _ask(session, CLUSTER)
    with pytest.raises(LimitExceededError):
        _ask(session, LISTENER)


def test_sixty_thousand_reported_versions_are_not_too_many() -> None:
    session = _session()
    session.on_snapshot(snapshot({CLUSTER: {"a": "1"}, LISTENER: {}}), 1)
    reported = {f"outbound|80||s{number}.shop.svc.cluster.local": "1" for number in range(60_000)}

    _ask(session, CLUSTER, initial_resource_versions=reported)
    (listeners,) = _ask(session, LISTENER)
    (answer,) = _ack(session, listeners)
    assert len(answer.removed_resources) == 60_000


def test_what_was_answered_is_not_remembered_for_ever() -> None:
    session = _following()
    for _ in range(MAX_AWAITED + 100):
        for answer in [*_ask(session, CLUSTER, "a"), *_ask(session, ROUTE, "r")]:
            _ack(session, answer)

    assert len(session._naming) <= MAX_AWAITED
    assert len(session._cold) <= 1


def test_what_names_no_cold_cluster_does_not_wait() -> None:
    """A cluster that never gets warm holds up nobody but those that name it."""
    session = _following()
    cold = {**_BEFORE, CLUSTER: {"a": "1", "cold": "1"}, ROUTE: {"r": "a", "s": "cold"}}
    (arrival,) = _read(session.on_snapshot(snapshot(cold), 2))
    assert _names(arrival) == ["cold"]
    _ask(session, ROUTE, "s")
    assert session.held

    hardened = {**cold, LISTENER: {"l": "a, to friends alone"}}
    (listeners,) = _read(session.on_snapshot(snapshot(hardened), 3))
    assert listeners.resources[0].resource.value == b"l:a, to friends alone"
    assert _ack(session, listeners) == []
    assert session.held
    (routes,) = _ack(session, arrival)
    assert _names(routes) == ["s"]
    assert not session.held


def test_beside_what_waits_nothing_is_taken_away_that_it_may_replace() -> None:
    session = _following()
    moved = {**_BEFORE, CLUSTER: {"a": "1", "b": "1"}, LISTENER: {"m": "b"}}
    (arrival,) = _read(session.on_snapshot(snapshot(moved), 2))

    (listeners,) = _ack(session, arrival)
    assert (_names(listeners), list(listeners.removed_resources)) == (["m"], ["l"])


def test_a_changed_cluster_is_not_cold_because_its_old_version_serves() -> None:
    session = _following()
    changed = {**_BEFORE, CLUSTER: {"a": "2"}, ROUTE: {"r": "a, differently"}}
    answers = _read(session.on_snapshot(snapshot(changed), 2))
    assert [answer.type_url for answer in answers] == [CLUSTER, ENDPOINT, ROUTE]


def test_after_a_reconnect_what_the_client_has_does_not_wait_again() -> None:
    before = snapshot({**_BEFORE, CLUSTER: {"a": "1", "b": "1"}})
    have = {
        type_url: {name: item.version for name, item in before.of(type_url).resources.items()}
        for type_url in (CLUSTER, LISTENER, ROUTE)
    }
    session = _session()
    session.on_snapshot(before, 1)
    del have[CLUSTER]["b"]
    _ask(session, CLUSTER, initial_resource_versions=have[CLUSTER])
    (listeners,) = _ask(session, LISTENER, initial_resource_versions=have[LISTENER])
    (routes,) = _ask(session, ROUTE, "r", initial_resource_versions=have[ROUTE])
    assert _names(listeners) == _names(routes) == []


def test_clusters_that_left_meanwhile_go_in_the_end_even_if_no_listeners_are_asked_for() -> None:
    session = _session()
    session.on_snapshot(snapshot(_BEFORE), 1)
    _ask(session, CLUSTER, initial_resource_versions={"a": "1", "gone": "1"})
    assert session.held
    (removal,) = _read(session.release())
    assert list(removal.removed_resources) == ["gone"]


def test_what_leaves_right_after_a_reconnect_waits_for_routes_that_were_not_compared_yet() -> None:
    before = snapshot({**_BEFORE, CLUSTER: {"a": "1", "b": "1"}})
    clusters = before.of(CLUSTER).resources
    session = _session()
    session.on_snapshot(before, 1)
    reported = {name: item.version for name, item in clusters.items()}
    _ask(session, CLUSTER, initial_resource_versions=reported)
    assert session.on_snapshot(snapshot(_BEFORE), 2) == []
    (listeners,) = _ask(session, LISTENER)
    (removal,) = _ack(session, listeners)
    assert list(removal.removed_resources) == ["b"]


def test_a_cluster_that_only_the_client_knows_is_never_sent() -> None:
    session = _session()
    session.on_snapshot(snapshot(_BEFORE), 1)
    _ask(session, CLUSTER, initial_resource_versions={"gone": "1"})
    (answer,) = _ask(session, CLUSTER, "gone")
    assert (_names(answer), list(answer.removed_resources)) == ([], ["gone"])
