"""Whatever a client sends, a session answers it or ends the stream with an error of its own."""

from envoy.service.discovery.v3.discovery_pb2 import (
    DeltaDiscoveryRequest,
    DeltaDiscoveryResponse,
    DiscoveryRequest,
    DiscoveryResponse,
)
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.errors import RequestError
from libs.xds.stream.limits import Limits
from libs.xds.stream.responses import Responses
from libs.xds.stream.sotw import SotwSession
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE
from tests.support.examples import examples
from tests.support.snapshots import snapshot

LIMITS = Limits(names=6, types=4, name_bytes=64, type_bytes=128)
FIRST = snapshot({CLUSTER: {"a": "1"}, ENDPOINT: {"a": "1"}, ROUTE: {"a": "1", "b": "1"}})
SECOND = snapshot({CLUSTER: {"b": "1"}, ENDPOINT: {"b": "1"}, LISTENER: {"a": "1"}})

type_urls = st.sampled_from([CLUSTER, ENDPOINT, LISTENER, ROUTE, "", "other"]) | st.text(max_size=9)
names = st.lists(st.sampled_from(["a", "b", "*", ""]) | st.text(max_size=80), max_size=8)
nonces = st.sampled_from(["", "1", "1.1", "2", "2.1"]) | st.text(max_size=5)
refusals = st.none() | st.text(max_size=40)

deltas = st.builds(
    dict,
    type_url=type_urls,
    resource_names_subscribe=names,
    resource_names_unsubscribe=names,
    initial_resource_versions=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=8),
    response_nonce=nonces,
)
states = st.builds(dict, type_url=type_urls, resource_names=names, response_nonce=nonces)


@settings(max_examples=examples(300), deadline=None, database=None)
@given(st.lists(st.tuples(deltas, refusals), max_size=12), st.integers(0, 12))
def test_delta_requests(requests: list[tuple[dict[str, object], str | None]], turn: int) -> None:
    session = DeltaSession(Responses(), LIMITS)
    session.on_snapshot(FIRST, 1)
    for number, (fields, refusal) in enumerate(requests):
        if number == turn:
            _readable(DeltaDiscoveryResponse, session.on_snapshot(SECOND, 2))
        request = DeltaDiscoveryRequest(**fields)  # type: ignore[arg-type]
        if refusal is not None:
            request.error_detail.message = refusal
        try:
            _readable(DeltaDiscoveryResponse, session.on_request(request))
        except RequestError:
            return
        session.take_events()
    assert len(session.watches) <= LIMITS.types
    assert all(len(watch.wanted.names) <= LIMITS.names for watch in session.watches.values())


@settings(max_examples=examples(300), deadline=None, database=None)
@given(st.lists(st.tuples(states, refusals), max_size=12), st.integers(0, 12))
def test_state_of_the_world_requests(
    requests: list[tuple[dict[str, object], str | None]], turn: int
) -> None:
    session = SotwSession(Responses(), LIMITS)
    session.on_snapshot(FIRST, 1)
    for number, (fields, refusal) in enumerate(requests):
        if number == turn:
            _readable(DiscoveryResponse, session.on_snapshot(SECOND, 2))
        request = DiscoveryRequest(**fields)  # type: ignore[arg-type]
        if refusal is not None:
            request.error_detail.message = refusal
        try:
            _readable(DiscoveryResponse, session.on_request(request))
        except RequestError:
            return


def _readable(
    kind: type[DeltaDiscoveryResponse] | type[DiscoveryResponse], bodies: list[bytes]
) -> None:
    for body in bodies:
        assert kind.FromString(body).nonce


@settings(max_examples=examples(500), deadline=None, database=None)
@given(st.binary(max_size=200))
def test_bytes(body: bytes) -> None:
    try:
        request = DeltaDiscoveryRequest.FromString(body)
        DeltaSession(Responses(), LIMITS).on_request(request)
    except (DecodeError, RequestError):
        pass
