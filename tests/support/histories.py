"""Histories: one process that follows every change, and proxies on streams that never end.

`Followed` joins what a running mesh joins, without its sockets: the endpoint controller, translate,
the wire of the feed, classes with their affected types, and delta sessions with clients that keep
what they are told. `fresh` is what a process that starts now says of the same proxies.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from envoy.config.core.v3 import base_pb2
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.service.discovery.v3 import discovery_pb2

from libs.api.resource import Resource
from libs.model import wire
from libs.model.delta import Delta
from libs.model.ids import Ref, SpiffeId, workload_key
from libs.model.mesh import Mesh, Table
from libs.model.settings import MeshSettings
from libs.protos.feed.v1.feed_pb2 import MeshUpdate, Row, RowKey
from libs.proxy.node import Proxy
from libs.proxy.scope import ProxyScope
from libs.proxy.scoper import Scoper
from libs.translate.apply import Event, Remove, Upsert, apply, initial
from libs.xds import affects
from libs.xds.generate import GENERATORS
from libs.xds.stream.delta import DeltaSession
from libs.xds.stream.responses import Responses
from libs.xds.types import (
    CLUSTER,
    EXTENSION,
    LISTENER,
    NAME_TABLE,
    ROUTE,
    ResourceSet,
    Snapshot,
)
from services.config_push.assembly import Assembly
from services.config_push.classes import Classes, Made, Want
from services.config_push.connection import Peer
from services.config_push.push import Round
from services.config_push.queue import Lane
from services.ctl.render import slices
from services.discovery.endpoint_controller import Change, EndpointController
from tests.support.xds_client import DeltaClient


class Client(NamedTuple):
    """A proxy as it says who it is."""

    node_id: str
    metadata: Mapping[str, str]
    account: str  # of a pod that nobody has seen yet

    @property
    def place(self) -> tuple[str, str]:
        name, _, namespace = self.node_id.split("~")[2].rpartition(".")
        return namespace, name

    def peer(self, mesh: Mesh) -> Peer:
        """Return who connects, with the identity of its pod as it stands."""
        namespace, name = self.place
        workload = mesh.workloads.get(workload_key(namespace, name))
        account = workload.service_account if workload else self.account
        identity = SpiffeId(mesh.settings.trust_domain, namespace, account)
        return Peer(identity, "", node_id=self.node_id, metadata=self.metadata)


def client(
    name: str, kind: str = "sidecar", address: str = "10.244.0.9", **metadata: str
) -> Client:
    namespace = name.rpartition(".")[2]
    domain = f"{namespace}.svc.cluster.local"
    return Client(f"{kind}~{address}~{name}~{domain}", metadata, "default")


CLIENTS = (
    client("client.shop"),
    client("web-1.shop", DNS_CAPTURE="true"),
    client("client.other", address="10.244.1.9"),
    client(
        "stranger.other", address="10.244.1.8", INTERCEPTION_MODE="NONE", HTTP_PROXY_PORT="3128"
    ),
    client("gw.edge", "router", UNPRIVILEGED_POD="true"),
    client("caller.shop", address="10.244.0.77", GENERATOR="grpc"),
    client("twin.shop", address="10.244.0.78"),
    client("twin-2.shop", address="10.244.0.79"),
)
"""Proxies of several namespaces and of every type; the twins are alike."""


class FailedError(AssertionError):
    """A generator or the scoper raised: whatever users write, that is a bug."""


class _Strict(Scoper):
    def scope(self, mesh: Mesh, proxy: Proxy) -> ProxyScope:
        try:
            return super().scope(mesh, proxy)
        except Exception as error:
            raise _Escaped from error


class _Escaped(BaseException):
    """Gets past whoever isolates failures."""


def _strict() -> dict[str, object]:
    def wrapped(make: object) -> object:
        def generate(scope: ProxyScope) -> ResourceSet:
            try:
                return make(scope)  # type: ignore[operator, no-any-return]
            except Exception as error:
                raise _Escaped from error

        return generate

    return {type_url: wrapped(make) for type_url, make in GENERATORS.items()}


def classes() -> Classes:
    """Return a process's classes; a failure of a generator ends the test."""
    return Classes(_strict(), affects.types, _Strict())  # type: ignore[arg-type]


def make(of: Classes, mesh: Mesh, want: Want) -> Made:
    try:
        return of.make(mesh, want)
    except _Escaped as error:
        raise FailedError(repr(error.__cause__)) from error.__cause__


def want(peer: Peer, **fields: object) -> Want:
    """Return what a proxy that has just connected wants; `fields` say otherwise."""
    known: dict[str, object] = {"lane": Lane.NEW, "tables": frozenset(), "digest": "", "before": {}}
    return Want(connection=0, identify=peer.identify, **{**known, **fields})  # type: ignore[arg-type]


def said(who: Iterable[Client], resources: Iterable[Resource]) -> list[Mapping[str, ResourceSet]]:
    """Return what a process that starts with `resources` gives each proxy."""
    now, of = fresh_mesh(resources), classes()
    return [make(of, now, want(one.peer(now))).sets for one in who]


def fresh_mesh(resources: Iterable[Resource]) -> Mesh:
    """Return the mesh of a process that starts now."""
    found = list(resources)
    every = [*found, *slices(found)]
    return apply(initial(MeshSettings()), [Upsert(one) for one in every]).state.mesh


class Stream:
    """One proxy's stream, and what its Envoy keeps over all its streams."""

    def __init__(self, who: Client, responses: Responses) -> None:
        self.who = who
        self.client = DeltaClient(base_pb2.Node(id=who.node_id), follow_clusters=True)
        self.client.keep_bodies = True
        self.tables: frozenset[Table] = frozenset()
        self.peer: Peer | None = None
        self.sets: Mapping[str, ResourceSet] = {}
        self.digest = ""
        self.bytes: dict[str, bytes] = {}  # the latest response by type
        self._responses = responses

    def drop(self) -> None:
        """End the stream; the client keeps what it has."""
        self.peer = None

    def push(self, of: Classes, mesh: Mesh, push: int) -> None:
        """Let the proxy have what changed, or everything if it has just come."""
        if self.peer is None:
            self._connect(mesh)
        lane = Lane.NEW if not self.sets else _lane(self.tables)
        while self.peer is not None:
            made = make(of, mesh, self._want(lane))
            if made.refusal:
                self._connect(mesh)
                lane = Lane.NEW
                continue
            self.sets = made.sets
            if made.whole:
                self.digest = made.digest
            self._offer(push)
            if made.whole:
                break
            lane = Lane.CONFIGURATION
        self.tables = frozenset()

    def _want(self, lane: Lane) -> Want:
        assert self.peer is not None
        return want(self.peer, lane=lane, tables=self.tables, digest=self.digest, before=self.sets)

    def _connect(self, mesh: Mesh) -> None:
        self.peer = self.who.peer(mesh)
        self.sets, self.digest, self.tables = {}, "", frozenset()
        self._session = DeltaSession(self._responses)
        first = not self.client.wanted
        requests = self.client.connect()
        if first:
            requests = [self.client.subscribe(one) for one in (CLUSTER, LISTENER, NAME_TABLE)]
        self._waiting = requests

    def _offer(self, push: int) -> None:
        answers = [body for request in self._waiting for body in self._session.on_request(request)]
        self._waiting = []
        answers += self._session.on_snapshot(Snapshot(self.sets), push)
        self._talk(answers)
        self._talk(self._follow())
        assert not self._session.held

    def _talk(self, bodies: list[bytes]) -> None:
        while bodies:
            body, *bodies = bodies
            response = discovery_pb2.DeltaDiscoveryResponse.FromString(body)
            self.bytes[response.type_url] = body
            for request in self.client.on_response(body):
                bodies += self._session.on_request(request)

    def _follow(self) -> list[bytes]:
        """Ask for the routes and extensions that listeners name, as Envoy does."""
        named = _named(self.client.bodies.get(LISTENER, {}).values())
        bodies: list[bytes] = []
        for type_url, names in named.items():
            known = self.client.wanted.get(type_url, set())
            if new := sorted(names - known):
                bodies += self._session.on_request(self.client.subscribe(type_url, new))
            if old := sorted(known - names):
                bodies += self._session.on_request(self.client.unsubscribe(type_url, old))
        return bodies

    @property
    def held(self) -> dict[str, dict[str, bytes]]:
        """What its Envoy has now, by type and name."""
        return {
            type_url: {name: self.client.bodies[type_url][name] for name in versions}
            for type_url, versions in self.client.versions.items()
        }


_cache: dict[bytes, dict[str, set[str]]] = {}


def _named(listeners: Iterable[bytes]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {ROUTE: set(), EXTENSION: set()}
    for body in listeners:
        if body not in _cache:
            if len(_cache) > 4096:
                _cache.clear()
            _cache[body] = _of_listener(Listener.FromString(body))
        for type_url, names in _cache[body].items():
            found[type_url] |= names
    return found


def _of_listener(listener: Listener) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {ROUTE: set(), EXTENSION: set()}
    chains = [*listener.filter_chains, listener.default_filter_chain]
    filters = [one.typed_config for chain in chains for one in chain.filters]
    for typed in (*filters, listener.api_listener.api_listener):
        if typed.Is(hcm.HttpConnectionManager.DESCRIPTOR):
            manager = hcm.HttpConnectionManager.FromString(typed.value)
            if manager.HasField("rds"):
                found[ROUTE].add(manager.rds.route_config_name)
            for one in manager.http_filters:
                if one.HasField("config_discovery"):
                    found[EXTENSION].add(one.name)
    for chain in chains:
        found[EXTENSION] |= {one.name for one in chain.filters if one.HasField("config_discovery")}
    return found


def _lane(tables: frozenset[Table]) -> Lane:
    return Round(0, Mesh(), (), tables, since=0).lane


class Followed:
    """A process that has seen every change."""

    def __init__(self, clients: Iterable[Client]) -> None:
        self.responses = Responses()
        self.streams = [Stream(one, self.responses) for one in clients]
        self.resources: dict[Ref, Resource] = {}
        self.mesh = Mesh()
        self._state = initial(MeshSettings())
        self._controller = EndpointController()
        self._assembly = Assembly()
        self._sequence = 0
        self._classes = classes()
        self._pushes = 0

    def take(self, changes: Iterable[tuple[Ref, Resource | None]]) -> None:
        """Take in changes, as one batch, and push."""
        events: list[Event] = []
        moved: list[Change] = []
        for ref, after in changes:
            moved.append(Change(self.resources.pop(ref, None), after))
            if after is not None:
                self.resources[ref] = after
            events.append(Remove(ref) if after is None else Upsert(after))
        step = apply(self._state, [*events, *self._controller.update(moved, 0.0)])
        self._state = step.state
        delta = self._arrive(step.state.mesh, step.delta)
        self.push(delta.tables)

    def push(self, tables: frozenset[Table] = frozenset()) -> None:
        """Let every proxy have what is new."""
        self._pushes += 1
        for stream in self.streams:
            stream.tables |= tables
            if stream.tables or stream.peer is None:
                stream.push(self._classes, self.mesh, self._pushes)

    def _arrive(self, mesh: Mesh, delta: Delta) -> Delta:
        """Send a change through the feed's messages."""
        self._sequence += 1
        rows = [
            Row(type=key.table, key=key.key, body=wire.encode(mesh.rows(key.table)[key.key]))
            for key in sorted(delta.changed)
        ]
        update = MeshUpdate(
            sequence=self._sequence,
            snapshot=self._sequence == 1,
            rows=rows,
            removed=[RowKey(type=key.table, key=key.key) for key in sorted(delta.removed)],
            change=delta.change,
        )
        arrived = self._assembly.add(update)
        assert arrived is not None
        assert arrived.keys == delta.keys
        self.mesh = self._assembly.mesh
        return arrived
