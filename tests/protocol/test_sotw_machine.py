"""A state-of-the-world client that asks, accepts, refuses and reconnects ends with the snapshot."""

from collections import deque

from envoy.service.discovery.v3.discovery_pb2 import DiscoveryRequest, DiscoveryResponse
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from libs.xds.stream.responses import Responses
from libs.xds.stream.sotw import SotwSession
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, Snapshot
from tests.support.examples import examples
from tests.support.snapshots import snapshot

WHOLE = (CLUSTER, LISTENER)
NAMED = (ENDPOINT, ROUTE)
NAMES = ("a", "b", "c")
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True)


class Client:
    """Keeps what it was sent; of whole types it drops what a response leaves out."""

    def __init__(self) -> None:
        self.wanted: dict[str, set[str]] = {}
        self.have: dict[str, dict[str, bytes]] = {}
        self.said: dict[str, tuple[str, str]] = {}  # version and nonce by type

    def connect(self) -> list[bytes]:
        self.said.clear()
        return [self.request(type_url) for type_url in self.wanted]

    def request(self, type_url: str, refusal: str = "") -> bytes:
        version, nonce = self.said.get(type_url, ("", ""))
        made = DiscoveryRequest(
            type_url=type_url,
            resource_names=sorted(self.wanted[type_url]),
            version_info=version,
            response_nonce=nonce,
        )
        if refusal:
            made.error_detail.message = refusal
        return made.SerializeToString()

    def on_response(self, body: bytes, refusal: str = "") -> bytes:
        response = DiscoveryResponse.FromString(body)
        type_url = response.type_url
        version = self.said.get(type_url, ("", ""))[0]
        if refusal:
            self.said[type_url] = (version, response.nonce)
            return self.request(type_url, refusal)
        found = {item.value.split(b":")[0].decode(): item.value for item in response.resources}
        if type_url in WHOLE:
            self.have[type_url] = found
        else:
            self.have.setdefault(type_url, {}).update(found)
        self.said[type_url] = (response.version_info, response.nonce)
        return self.request(type_url)


class SotwMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, dict[str, str]] = {type_url: {} for type_url in WHOLE + NAMED}
        self.push = 0
        self.responses = Responses()
        self.client = Client()
        self.refused: set[tuple[str, bytes]] = set()
        self.to_server: deque[bytes] = deque()
        self.to_client: deque[bytes] = deque()
        self.session = SotwSession(self.responses)
        for type_url in WHOLE:
            self.client.wanted[type_url] = set()
            self.to_server.append(self.client.request(type_url))

    def _snapshot(self) -> Snapshot:
        return snapshot(self.contents)

    @rule(type_url=st.sampled_from(WHOLE + NAMED), chosen=names, number=st.integers(0, 2))
    def set_resources(self, type_url: str, chosen: list[str], number: int) -> None:
        self.contents[type_url].update(dict.fromkeys(chosen, str(number)))

    @rule(type_url=st.sampled_from(WHOLE + NAMED), chosen=names)
    def delete_resources(self, type_url: str, chosen: list[str]) -> None:
        for name in chosen:
            self.contents[type_url].pop(name, None)

    @rule()
    def push_snapshot(self) -> None:
        self.push += 1
        self.to_client.extend(self.session.on_snapshot(self._snapshot(), self.push))

    @rule(type_url=st.sampled_from(NAMED), chosen=names)
    def want(self, type_url: str, chosen: list[str]) -> None:
        self.client.wanted[type_url] = set(chosen)
        have = self.client.have.get(type_url, {})
        for name in have.keys() - set(chosen):
            del have[name]
        self.to_server.append(self.client.request(type_url))

    @precondition(lambda self: self.to_server)
    @rule()
    def server_reads(self) -> None:
        request = DiscoveryRequest.FromString(self.to_server.popleft())
        self.to_client.extend(self.session.on_request(request))

    @precondition(lambda self: self.to_client)
    @rule()
    def client_accepts(self) -> None:
        self.to_server.append(self.client.on_response(self.to_client.popleft()))

    @precondition(lambda self: self.to_client)
    @rule()
    def client_refuses(self) -> None:
        response = DiscoveryResponse.FromString(self.to_client[0])
        self.refused.update((response.type_url, item.value) for item in response.resources)
        if response.type_url in WHOLE:  # it also refuses that others are gone
            self.refused.add((response.type_url, b""))
        self.to_server.append(self.client.on_response(self.to_client.popleft(), "no"))

    @rule()
    def reconnect(self) -> None:
        self.to_server.clear()
        self.to_client.clear()
        self.refused.clear()
        self.session = SotwSession(self.responses)
        self.to_server.extend(self.client.connect())

    @rule()
    def quiesce(self) -> None:
        self.push_snapshot()
        for _ in range(500):
            if self.to_server:
                self.server_reads()
            elif self.to_client:
                self.client_accepts()
            else:
                break
        else:
            raise AssertionError("client and server keep answering each other")
        for type_url in self.client.wanted:
            self._check(type_url)

    def _check(self, type_url: str) -> None:
        wanted = self.client.wanted[type_url]
        expected = {
            name: item.body
            for name, item in self._snapshot().of(type_url).resources.items()
            if name in wanted or type_url in WHOLE
        }
        actual = self.client.have.get(type_url, {})
        for name, body in expected.items():
            if actual.get(name) != body:
                assert (type_url, body) in self.refused, (type_url, name)
        if type_url in WHOLE:  # of named types a removal cannot be said
            assert actual.keys() <= expected.keys() or (type_url, b"") in self.refused

    def teardown(self) -> None:
        self.quiesce()


SotwMachine.TestCase.settings = settings(
    max_examples=examples(150), stateful_step_count=40, deadline=None, database=None
)
TestSotwMachine = SotwMachine.TestCase
