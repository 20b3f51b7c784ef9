"""A client that subscribes, accepts, refuses and reconnects in any order ends with the snapshot."""

from collections import deque

from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.responses import Responses
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, Snapshot, resource, resource_set
from tests.support.examples import examples
from tests.support.xds_client import DeltaClient

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE)
NAMES = ("a", "b", "c", "d")
types = st.sampled_from(TYPES)
named = st.sampled_from((ENDPOINT, ROUTE))
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)


class DeltaMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, dict[str, int]] = {type_url: {} for type_url in TYPES}
        self.push = 0
        self.responses = Responses()
        self.client = DeltaClient(follow_clusters=True)
        self.refused: set[tuple[str, str, str | None]] = set()
        self.to_server: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        self.session = DeltaSession(self.responses)
        self._say(self.client.subscribe(CLUSTER))
        self._say(self.client.subscribe(LISTENER))

    def _say(self, *requests: discovery_pb2.DeltaDiscoveryRequest) -> None:
        self.to_server.extend(request.SerializeToString() for request in requests)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            {
                type_url: resource_set(
                    type_url,
                    [
                        resource(name, type_url, body=f"{type_url}{name}{number}".encode())
                        for name, number in sorted(content.items())
                    ],
                )
                for type_url, content in self.contents.items()
            }
        )

    @rule(type_url=types, chosen=names, number=st.integers(0, 2))
    def set_resources(self, type_url: str, chosen: list[str], number: int) -> None:
        self.contents[type_url].update(dict.fromkeys(chosen, number))

    @rule(type_url=types, chosen=names)
    def delete_resources(self, type_url: str, chosen: list[str]) -> None:
        for name in chosen:
            self.contents[type_url].pop(name, None)

    @rule()
    def push_snapshot(self) -> None:
        self.push += 1
        self.to_client.extend(self.session.on_snapshot(self._snapshot(), self.push))

    @rule(type_url=named, chosen=names)
    def subscribe(self, type_url: str, chosen: list[str]) -> None:
        self._say(self.client.subscribe(type_url, chosen))

    @rule(type_url=named, chosen=names)
    def unsubscribe(self, type_url: str, chosen: list[str]) -> None:
        if type_url in self.client.wanted:
            self._say(self.client.unsubscribe(type_url, chosen))

    @rule(chosen=names, type_url=st.sampled_from((CLUSTER, LISTENER)))
    def name_some_of_a_whole_type(self, type_url: str, chosen: list[str]) -> None:
        self._say(self.client.subscribe(type_url, chosen))

    @rule(type_url=st.sampled_from((CLUSTER, LISTENER)))
    def stop_wildcard(self, type_url: str) -> None:
        if self.client.covers(type_url, "*"):
            self._say(self.client.unsubscribe(type_url, ["*"]))

    @rule(type_url=st.sampled_from((CLUSTER, LISTENER)))
    def start_wildcard(self, type_url: str) -> None:
        self._say(self.client.subscribe(type_url, ["*"]))

    @rule(type_url=types)
    def answer_something_unknown(self, type_url: str) -> None:
        if type_url in self.client.wanted:
            self._say(
                discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce="bogus")
            )

    @precondition(lambda self: self.to_server)
    @rule(count=st.integers(1, 5))
    def server_reads(self, count: int) -> None:
        for _ in range(min(count, len(self.to_server))):
            request = discovery_pb2.DeltaDiscoveryRequest.FromString(self.to_server.popleft())
            self.to_client.extend(self.session.on_request(request))

    @precondition(lambda self: self.to_client)
    @rule(count=st.integers(1, 5))
    def client_accepts(self, count: int) -> None:
        for _ in range(min(count, len(self.to_client))):
            self._say(*self.client.on_response(self.to_client.popleft()))

    @precondition(lambda self: self.to_client)
    @rule(guilty=st.lists(st.sampled_from(NAMES), max_size=2, unique=True))
    def client_refuses(self, guilty: list[str]) -> None:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(self.to_client[0])
        for item in response.resources:
            self.refused.add((response.type_url, item.name, item.version))
        for name in response.removed_resources:
            self.refused.add((response.type_url, name, None))
        text = f"rejected: {', '.join(guilty)}"
        self._say(*self.client.on_response(self.to_client.popleft(), lambda _: text))

    @rule()
    def reconnect(self) -> None:
        self.to_server.clear()
        self.to_client.clear()
        self.refused.clear()
        self.session = DeltaSession(self.responses)
        self._say(*self.client.connect())

    def _drain(self) -> None:
        for _ in range(200):
            if not self.to_server and not self.to_client:
                return
            if self.to_server:
                self.server_reads(len(self.to_server))
            if self.to_client:
                self.client_accepts(len(self.to_client))
        raise AssertionError("client and server keep answering each other")

    @rule()
    def quiesce(self) -> None:
        self.push_snapshot()
        self._drain()
        if self.session.held:
            # A client that is back and asks for no listeners: whoever has a clock ends the wait.
            assert LISTENER not in self.session.watches
            self.to_client.extend(self.session.release())
            self._drain()
        snapshot = self._snapshot()
        for type_url in self.client.wanted:
            self._check(type_url, snapshot)
        waiting = {name for name in self.client.warming if self._excused(ENDPOINT, name, snapshot)}
        held_back = self.client.warming - waiting - self._refused_clusters()
        assert not held_back & self.client.wanted.get(ENDPOINT, set())

    def _check(self, type_url: str, snapshot: Snapshot) -> None:
        expected = {
            name: item.version
            for name, item in snapshot.of(type_url).resources.items()
            if self.client.covers(type_url, name)
        }
        actual = self.client.versions.get(type_url, {})
        for name in expected.keys() | actual.keys():
            if actual.get(name) != expected.get(name):
                assert (type_url, name, expected.get(name)) in self.refused, (type_url, name)

    def _excused(self, type_url: str, name: str, snapshot: Snapshot) -> bool:
        item = snapshot.of(type_url).resources.get(name)
        return (type_url, name, item.version if item else None) in self.refused

    def _refused_clusters(self) -> set[str]:
        return {name for type_url, name, _ in self.refused if type_url == CLUSTER}

    def teardown(self) -> None:
        self.quiesce()


DeltaMachine.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, deadline=None, database=None
)
TestDeltaMachine = DeltaMachine.TestCase
