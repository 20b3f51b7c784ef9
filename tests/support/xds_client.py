"""An xDS client: what it wants, what it has, and what it says. The transport is the caller's.

Used by the state machine over sessions, by tests over real gRPC and by the load swarm. It behaves
as Envoy does: reports its versions when it connects anew, acknowledges every response, asks for
the endpoints of each cluster that it is given, and holds a cluster back until they come.
"""

from collections.abc import Callable, Iterable

from envoy.config.core.v3 import base_pb2
from envoy.service.discovery.v3 import discovery_pb2

from libs.xds.types import CLUSTER, ENDPOINT

Verdict = Callable[[discovery_pb2.DeltaDiscoveryResponse], str | None]


def accept(_response: discovery_pb2.DeltaDiscoveryResponse) -> str | None:
    """Refuse nothing."""
    return None


class DeltaClient:
    """One proxy's side of the incremental protocol, over all types."""

    def __init__(self, node: base_pb2.Node | None = None, *, follow_clusters: bool = False) -> None:
        self.node = node
        self.follow_clusters = follow_clusters
        self.wanted: dict[str, set[str]] = {}  # explicit names; "*" included
        self.whole: set[str] = set()  # types that are wanted by naming nothing
        self.versions: dict[str, dict[str, str]] = {}
        self.bodies: dict[str, dict[str, bytes]] = {}
        self.keep_bodies = False
        self.warming: set[str] = set()
        self.nonces: dict[str, str] = {}
        self._greeted = False

    def covers(self, type_url: str, name: str) -> bool:
        names = self.wanted.get(type_url, set())
        return type_url in self.whole or "*" in names or name in names

    def connect(self) -> list[discovery_pb2.DeltaDiscoveryRequest]:
        """Return the first requests of a new stream."""
        self._greeted = False
        self.nonces.clear()
        return [
            self._first(type_url)
            for type_url, names in self.wanted.items()
            if names or type_url in self.whole
        ]

    def subscribe(
        self, type_url: str, names: Iterable[str] = ()
    ) -> discovery_pb2.DeltaDiscoveryRequest:
        names = list(names)
        if type_url not in self.wanted:
            self.wanted[type_url] = set(names)
            if not names:
                self.whole.add(type_url)
            return self._first(type_url)
        self.wanted[type_url] |= set(names)
        return self._request(type_url, resource_names_subscribe=names)

    def unsubscribe(
        self, type_url: str, names: Iterable[str]
    ) -> discovery_pb2.DeltaDiscoveryRequest:
        names = list(names)
        self.wanted[type_url] -= set(names)
        if "*" in names:
            self.whole.discard(type_url)
        have = self.versions.get(type_url, {})
        for name in [name for name in have if not self.covers(type_url, name)]:
            del have[name]
        return self._request(type_url, resource_names_unsubscribe=names)

    def on_response(
        self, body: bytes, verdict: Verdict = accept
    ) -> list[discovery_pb2.DeltaDiscoveryRequest]:
        """Take over a response, or refuse it whole, and return what is said to that."""
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(body)
        self.nonces[response.type_url] = response.nonce
        answer = self._request(response.type_url, response_nonce=response.nonce)
        refusal = verdict(response)
        if refusal is not None:
            answer.error_detail.code = 13
            answer.error_detail.message = refusal
            return [answer]
        return [answer, *self._apply(response)]

    def _apply(
        self, response: discovery_pb2.DeltaDiscoveryResponse
    ) -> list[discovery_pb2.DeltaDiscoveryRequest]:
        type_url = response.type_url
        have = self.versions.setdefault(type_url, {})
        for item in response.resources:
            if not self.covers(type_url, item.name):
                continue  # unsubscribed while it was on its way
            have[item.name] = item.version
            if self.keep_bodies:
                self.bodies.setdefault(type_url, {})[item.name] = item.resource.value
        for name in response.removed_resources:
            have.pop(name, None)
            self.bodies.get(type_url, {}).pop(name, None)
        if type_url == CLUSTER:
            return self._warm(response)
        if type_url == ENDPOINT:
            self.warming -= {item.name for item in response.resources}
            self.warming -= set(response.removed_resources)
        return []

    def _warm(
        self, response: discovery_pb2.DeltaDiscoveryResponse
    ) -> list[discovery_pb2.DeltaDiscoveryRequest]:
        if not self.follow_clusters:
            return []
        names = {item.name for item in response.resources}
        removed = set(response.removed_resources)
        self.warming = (self.warming | names) - removed
        followed = self.wanted.get(ENDPOINT, set())
        requests = []
        if names - followed:
            requests.append(self.subscribe(ENDPOINT, sorted(names - followed)))
        if removed & self.wanted.get(ENDPOINT, set()):
            requests.append(self.unsubscribe(ENDPOINT, sorted(removed & followed)))
        return requests

    def _first(self, type_url: str) -> discovery_pb2.DeltaDiscoveryRequest:
        names = sorted(self.wanted[type_url])
        if type_url in self.whole and names:
            names = ["*", *names]
        return self._request(
            type_url,
            resource_names_subscribe=names,
            initial_resource_versions=self.versions.get(type_url, {}),
        )

    def _request(self, type_url: str, **fields: object) -> discovery_pb2.DeltaDiscoveryRequest:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, **fields)  # type: ignore[arg-type]
        if self.node is not None and not self._greeted:
            request.node.CopyFrom(self.node)
            self._greeted = True
        return request
