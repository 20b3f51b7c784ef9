"""Kubernetes: the API server as the source of configuration.

Each kind of `libs.api.registry` is followed by itself (`libs.kube.follow`), and all of them come
together here: of one object the latest state counts, so whatever happens while the reader is busy
is one batch, as large as the number of objects at most. The first batch comes when every kind is
synced; until then `waiting` says for which, and why.

Secrets come without those that are none of a gateway's business, and of all ConfigMaps only the
mesh's own. A kind whose CRD is missing has no objects; its CRD is waited for. What is labelled for
another revision is left to its control plane.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial

from libs.api import reasons
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_layers import DEFAULT_REVISION
from libs.api.problem import Problem
from libs.api.registry import KINDS, Kind
from libs.api.secret import Secret
from libs.api.slim import METADATA_ONLY
from libs.kube.client import Client
from libs.kube.collection import DEFINITIONS, Collection, of_kind
from libs.kube.follow import Change, Follower, Happening, Patience, State
from libs.model.ids import Ref
from libs.runtime.clock import Clock
from libs.runtime.tasks import Group
from libs.translate.apply import Event
from services.discovery import metrics
from services.discovery.files import Batch
from services.discovery.gateway_kinds import GatewayKinds
from services.discovery.mesh_maps import MeshMaps
from services.discovery.objects import Found, Objects
from services.discovery.revisions import Revisions

INLINE = 16
"""Changes that are read at once; more of them are read in a thread."""

_SECRETS = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token"
_DEFAULTS = Patience()


def collections(kind: Kind, maps: MeshMaps) -> Sequence[Collection]:
    """Return what is followed of a kind."""
    if kind.struct is ConfigMap:
        return maps.collections(kind)
    if kind.struct is Secret:
        return [of_kind(kind, field_selector=_SECRETS)]
    return [of_kind(kind, metadata_only=kind.struct in METADATA_ONLY)]


class KubernetesSource:
    """Gives all objects, and then those that change."""

    def __init__(
        self,
        client: Client,
        maps: MeshMaps,
        clock: Clock,
        *,
        revision: str = DEFAULT_REVISION,
        patience: Patience = _DEFAULTS,
    ) -> None:
        self.tell: Callable[[Kind, Sequence[Change]], None] = _tell_nobody
        """Is told of everything that is followed, good or bad, before it is taken in."""
        metrics.CLUSTERS.labels("local").set(1)
        self._clock = clock
        self._maps = maps
        self._revisions = Revisions(revision)
        self._objects = Objects()
        self._events: dict[Ref, Event] = {}
        self._problems: dict[Ref, tuple[Problem, ...]] = {}
        self._bad: set[Ref] = set()
        self._observed = clock.now()
        self._wake = asyncio.Event()
        self._away = asyncio.Event()
        follow = partial(Follower, client, clock=clock, patience=patience)
        self._followers = {
            it.name: follow(it, partial(self._take, kind), observe=partial(self._note, it.name))
            for kind in KINDS
            if kind.struct is not None
            for it in collections(kind, maps)
        }
        observe = partial(self._note, DEFINITIONS.name)
        self._definitions = follow(DEFINITIONS, self._defined, observe=observe)
        self._gateway_kinds = GatewayKinds()

    @property
    def waiting(self) -> Sequence[str]:
        """What is not synced yet, and why, in words."""
        late = (it for it in self._followers.values() if not it.synced.is_set())
        return [f"{it.collection.name} ({it.reason or it.state})" for it in late]

    async def is_away(self) -> None:
        """Return as soon as the API server does not answer."""
        await self._away.wait()

    async def run(self) -> None:
        """Follow everything until cancelled."""
        async with Group() as group:
            for follower in (*self._followers.values(), self._definitions):
                group.create_task(follower.run())

    def put(self, event: Event) -> None:
        """Have an event taken in with the next batch; of one resource, the last event counts."""
        self._touch()
        self._events[event.ref] = event

    def drained(self) -> Batch:
        """Return what was put and not taken in yet, and forget it."""
        events, self._events = self._events, {}
        problems, self._problems = self._problems, {}
        return Batch((), self._observed, tuple(events.values()), problems)

    async def batches(self) -> AsyncIterator[Batch]:
        """Yield everything first, even if that is nothing, then whatever changes."""
        for follower in self._followers.values():
            await follower.synced.wait()
        self._wake.clear()
        yield self.drained()
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch = self.drained()
            if batch.events or batch.problems:
                yield batch

    def _touch(self) -> None:
        if not self._events and not self._problems:
            self._observed = self._clock.now()
        self._wake.set()

    async def _take(self, kind: Kind, changes: Sequence[Change]) -> None:
        changes, others = self._revisions.part(kind, changes)
        self.tell(kind, changes)
        now = self._clock.now()
        if len(changes) <= INLINE:
            found = self._objects.read(kind, changes, now)
        else:
            found = await asyncio.to_thread(self._objects.read, kind, changes, now)
        self._touch()
        for one in found:
            for laid in self._maps.lay(one) if kind.struct is ConfigMap else [one]:
                self._learn(laid)
        for place, problem in others.items():
            self._say(place, (problem,))

    def _learn(self, found: Found) -> None:
        if found.event is not None:
            self._events[found.ref] = found.event
        self._say(found.ref, found.problems)

    def _say(self, about: Ref, problems: tuple[Problem, ...]) -> None:
        """Note all problems there are with something; none takes back those of before."""
        if problems:
            self._bad.add(about)
        elif about not in self._bad:
            return
        else:
            self._bad.discard(about)
        self._problems[about] = problems

    async def _defined(self, changes: Sequence[Change]) -> None:
        """A CRD came, changed or went: see at once whether its kind is served now."""
        for change in changes:
            if follower := self._followers.get(change.name.name):
                follower.retry()
        if self._gateway_kinds.take(changes):
            self._touch()
            self._say(Ref(f"collection//{DEFINITIONS.name}"), self._gateway_kinds.problems)

    def _note(self, name: str, happening: Happening) -> None:
        if happening is not Happening.MOVED:
            metrics.WATCH_EVENTS.labels(name, happening).inc()
            if happening is Happening.BROKEN:
                metrics.SYNC_ERRORS.labels(name, "local").inc()
            return
        if follower := self._followers.get(name):
            if follower.state is State.AWAY:
                self._away.set()
            elif follower.state is State.FOLLOWING:
                self._is_back()
            self._touch()
            self._say(Ref(f"collection//{name}"), _problems(follower))

    def _is_back(self) -> None:
        """The server has answered for one kind: see at once whether it does for the others."""
        for follower in self._followers.values():
            if follower.state is State.AWAY:
                follower.retry()


def _tell_nobody(_kind: Kind, _changes: Sequence[Change]) -> None:
    """Nobody wants to know."""


def _problems(follower: Follower) -> tuple[Problem, ...]:
    """What people should know of how a kind is followed; that a CRD is missing is no problem."""
    if follower.state not in _TROUBLES:
        return ()
    text = f"{follower.collection.name}: {_TROUBLES[follower.state]}: {follower.reason}"
    return (Problem(Ref(""), "", reasons.NOT_FOLLOWED, text),)


_TROUBLES: Mapping[State, str] = {
    State.REFUSED: "discovery may not list or watch them, grant it in its ClusterRole",
    State.AWAY: "the API server does not answer, what was known last is served",
}
