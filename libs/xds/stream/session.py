"""Session: what both protocols share: the watches, what a snapshot changes for each, and events.

Clusters, endpoints and secrets go at once; clusters that nobody needs any more stay for now. What
else is new goes at once as well, but for the single resources that name a cluster which is cold:
new to the client, and not answered for, as Envoy answers when all are warm. These wait, and so does
every removal beside them, as what replaces it may be among those that wait. Clusters leave when
what stopped naming them is answered for. A newer snapshot replaces whatever has not been sent.
`held` tells that something waits; who has a clock ends that with `release`.
"""

from collections.abc import Iterable

from msgspec import Struct

from libs.xds.stream.difference import Difference
from libs.xds.stream.events import Acked, Event, Nacked, Sent, Stale
from libs.xds.stream.limits import Limits
from libs.xds.stream.responses import Response, Responses
from libs.xds.stream.subscription import Subscription
from libs.xds.stream.watch import Watch, in_push_order
from libs.xds.types import (
    CLUSTER,
    ENDPOINT,
    EXTENSION,
    LISTENER,
    SECRET,
    ResourceSet,
    Snapshot,
)

NOTHING: frozenset[str] = frozenset()
AT_ONCE = frozenset({CLUSTER, ENDPOINT, SECRET})
"""Types that are never held: a cluster needs endpoints and secrets to get warm."""
MAX_AWAITED = 512  # more than all ledgers wait for, of the types that we generate
DEFAULT_LIMITS = Limits()

_LEAVING = frozenset({CLUSTER, ENDPOINT})
"""Types of which nothing is taken away while it may be named; a cluster may yet be warming."""


class Step(Struct, frozen=True, gc=False):
    """One response to be made: `change` takes the client of `watch` to `new`."""

    watch: Watch
    change: Difference
    new: ResourceSet


class Session:
    """One stream over all its types. Answers nothing before its first snapshot."""

    def __init__(
        self, responses: Responses, limits: Limits = DEFAULT_LIMITS, *, gated: bool = True
    ) -> None:
        self._responses = responses
        self._limits = limits
        self._gated = gated  # False: nothing waits for any answer
        self._cold: dict[str, str] = {}  # clusters, with the nonce of their latest response
        self._naming: set[tuple[str, str]] = set()  # type and nonce of what may name clusters
        self._held = False
        self._returned = (
            False  # the client has been here before, and its routes are not compared yet
        )
        self._endpoints: ResourceSet | None = None  # with those of clusters that stay for now
        self._snapshot = Snapshot({})
        self._push = 0
        self._watches: dict[str, Watch] = {}
        self._ordered: list[Watch] = []
        self._events: list[Event] = []

    @property
    def watches(self) -> dict[str, Watch]:
        """What is watched, by type URL. For reading."""
        return self._watches

    @property
    def held(self) -> bool:
        """Tell whether something of the snapshot waits for answers of the client."""
        return self._held

    def release(self) -> list[bytes]:
        """Return what comes next, as if what it waits for had been answered: one stage at most."""
        if not self._held:
            return []
        if self._cold_clusters():
            self._cold.clear()
        else:
            self._naming.clear()
            self._returned = False
        return self._advance()

    def take_events(self) -> list[Event]:
        """Return what happened since the last call."""
        events, self._events = self._events, []
        return events

    def on_snapshot(self, snapshot: Snapshot, push: int) -> list[bytes]:
        """Return what makes the client's state that of `snapshot`, in order.

        `push` becomes the nonce: snapshots that differ must have different numbers.
        """
        self._snapshot = snapshot
        self._push = push
        return self._advance()

    def _advance(self) -> list[bytes]:
        """Send all of the snapshot that need not wait."""
        bodies = self._take(self._first_steps())
        cold = self._cold_clusters()
        bodies += self._take(self._following_steps(cold))
        rest = bool(cold) and any(map(self._due, self._following_steps(NOTHING)))
        last = any(map(self._due, self._last_steps()))
        self._held = rest or (last and self._still_named())
        if self._held:
            return bodies
        if not self._still_named():
            self._keep_endpoints(stay=False)
        return bodies + self._take(self._last_steps())

    def _resume(self) -> list[bytes]:
        """Go on after an answer, if that was waited for."""
        return self._advance() if self._held else []

    def _take(self, steps: Iterable[Step]) -> list[bytes]:
        bodies: list[bytes] = []
        for step in steps:
            if self._due(step):
                bodies.append(self._emit(step))
            else:
                step.watch.applied = step.new
        return bodies

    def _due(self, step: Step) -> bool:
        return not step.watch.answered or self._worth_sending(step)

    def _cold_clusters(self) -> frozenset[str]:
        """Return the clusters to which no request may be led yet."""
        clusters = self._watches.get(CLUSTER)
        if clusters is not None and self._cold:
            waits, there = clusters.ledger.waits, clusters.applied.resources
            self._cold = {
                name: nonce for name, nonce in self._cold.items() if waits(nonce) and name in there
            }
        return frozenset(self._cold)

    def _still_named(self) -> bool:
        if self._returned:
            listeners = self._watches.get(LISTENER)
            self._returned = listeners is None or not listeners.answered
        self._naming = {
            (type_url, nonce)
            for type_url, nonce in self._naming
            if self._watches[type_url].ledger.waits(nonce)
        }
        return self._returned or bool(self._naming)

    def _want_anew(self, watch: Watch, wanted: Subscription) -> None:
        """Change what is wanted. What was not wanted was not held, but may have to be now."""
        watch.wanted = self._responses.subscription(wanted)
        new = self._snapshot.sets.get(watch.type_url)
        if watch.answered and new is not None and new is not watch.applied:
            self._held = True  # `_resume` finds out

    def _known(self, watch: Watch, names: frozenset[str]) -> frozenset[str]:
        """Return those of `names` that can be answered for now: the others come when held ends."""
        new = self._snapshot.sets.get(watch.type_url)
        if new is None or new is watch.applied:
            return names
        known = watch.applied.resources
        return frozenset(
            name
            for name in names
            if name not in new.resources or (name in known and not known[name].unknown)
        )

    def _first(self, watch: Watch, new: ResourceSet) -> Difference:
        raise NotImplementedError

    def _encode(self, step: Step, nonce: str) -> Response:
        raise NotImplementedError

    def _worth_sending(self, step: Step) -> bool:
        return bool(step.change)

    def _record(self, watch: Watch, nonce: str, error: str | None) -> Acked | Nacked | Stale:
        """Record the client's answer to the response of `nonce`; `error` None means accepted."""
        known = watch.ledger.accept(nonce) if error is None else watch.ledger.refuse(nonce, error)
        event = known or Stale(watch.type_url, nonce)
        self._events.append(event)
        return event

    def _send_first(self, watch: Watch) -> list[bytes]:
        """Answer the first request of a type."""
        if watch.type_url not in self._snapshot.sets:
            return []
        new = self._first_set(watch)
        if new is None:
            self._held = True
            return []
        bodies = self._send(Step(watch, self._first(watch, new), new))
        if new is not self._snapshot.sets[watch.type_url]:
            self._held = True  # with endpoints of clusters that leave: these leave after them
        return bodies + self._resume()

    def _send(self, step: Step) -> list[bytes]:
        """Make the response of `step`; if it brings clusters, that of their endpoints follows."""
        warming = NOTHING
        if step.watch.type_url == CLUSTER:
            warming = self._warming(step.watch, step.change)
        bodies = [self._emit(step)]
        endpoints = self._watches.get(ENDPOINT)
        if warming and endpoints is not None and endpoints.answered:
            again = self._again(endpoints, warming)
            bodies += [self._emit(again)] if self._worth_sending(again) else []
        return bodies

    def _again(self, watch: Watch, names: frozenset[str]) -> Step:
        change = self._responses.between(watch.applied, watch.applied, watch.wanted, again=names)
        return Step(watch, change, watch.applied)

    def _first_steps(self) -> Iterable[Step]:
        """Yield the steps of what never waits; each is made when the one before was taken."""
        warming = NOTHING
        stay = self._may_be_named()
        self._keep_endpoints(stay=stay)
        for watch in self._in_push_order(at_once=True):
            new = self._first_at_once(watch)
            if watch.type_url == CLUSTER and watch.answered and stay:
                new = self._responses.union(watch.applied, new)
            again = warming if watch.type_url == ENDPOINT else NOTHING
            step = Step(watch, self._change(watch, new, again), new)
            if watch.type_url == CLUSTER:
                warming = self._warming(watch, step.change)
            yield step

    def _first_at_once(self, watch: Watch) -> ResourceSet:
        """Return what of a type that never waits is to be sent for now."""
        return self._current(watch.type_url)

    def _keep_endpoints(self, *, stay: bool) -> None:
        new, clusters = self._snapshot.sets.get(ENDPOINT), self._watches.get(CLUSTER)
        if new is None:
            return
        before = self._endpoints
        if stay and before is not None and clusters is not None and clusters.answered:
            new = self._responses.union(before, new)
        self._endpoints = new

    def _current(self, type_url: str) -> ResourceSet:
        """Return what of a type is to be sent for now; the snapshot has that type."""
        if type_url == ENDPOINT and self._endpoints is not None:
            return self._endpoints
        return self._snapshot.sets[type_url]

    def _following_steps(self, cold: frozenset[str]) -> list[Step]:
        """Return the steps to all that may name clusters, but for what has to wait for `cold`."""
        steps = []
        for watch in self._in_push_order(at_once=False):
            new = self._first_set(watch, cold) if not watch.answered else self._warm(watch, cold)
            if new is not None:
                steps.append(Step(watch, self._change(watch, new, NOTHING), new))
        return steps

    def _warm(self, watch: Watch, cold: frozenset[str]) -> ResourceSet:
        """Return the set of the snapshot, with what the client has for what names cold clusters."""
        new = self._snapshot.sets[watch.type_url]
        if not cold:
            return new
        return self._responses.warm(watch.applied, new, cold, reported=watch.reported)

    def _first_set(self, watch: Watch, cold: frozenset[str] | None = None) -> ResourceSet | None:
        """Return what to answer the first request of a type with; None if that has to wait."""
        if watch.type_url in AT_ONCE:
            return self._first_at_once(watch)
        new = self._warm(watch, self._cold_clusters() if cold is None else cold)
        return new if new is self._snapshot.sets[watch.type_url] else None

    def _last_steps(self) -> list[Step]:
        """Return the steps that take away the clusters that nothing names any more."""
        return [
            Step(watch, self._change(watch, new, NOTHING), new)
            for watch in self._in_push_order(at_once=True)
            if watch.type_url in _LEAVING and watch.answered
            for new in (self._snapshot.sets[watch.type_url],)
        ]

    def _may_be_named(self) -> bool:
        """Tell whether the client may have, or be about to get, what names clusters that leave."""
        return self._still_named() or any(map(self._due, self._following_steps(NOTHING)))

    def _in_push_order(self, *, at_once: bool) -> list[Watch]:
        if len(self._ordered) != len(self._watches):  # none ever goes
            self._ordered = in_push_order(self._watches.values())
        sets = self._snapshot.sets
        return [
            watch
            for watch in self._ordered
            if (watch.type_url in AT_ONCE) is at_once and watch.type_url in sets
        ]

    def _change(self, watch: Watch, new: ResourceSet, again: frozenset[str]) -> Difference:
        if not watch.answered:
            return self._first(watch, new)
        change = self._responses.between(watch.applied, new, watch.wanted, again=again)
        if watch.type_url == EXTENSION:
            # Listeners that drain still use what those that replace them no longer name.
            change, _ = self._responses.split(change)
        return change

    def _warming(self, clusters: Watch, change: Difference) -> frozenset[str]:
        """Return the clusters that Envoy now holds back until it is sent their endpoints."""
        endpoints = self._watches.get(ENDPOINT)
        if endpoints is None:
            return NOTHING
        if not clusters.answered:
            return endpoints.wanted.names
        names = frozenset(item.name for item in change.upserts)
        return names if endpoints.wanted.wildcard else names & endpoints.wanted.names

    def _emit(self, step: Step) -> bytes:
        watch = step.watch
        response = self._encode(step, watch.ledger.next(self._push))
        watch.ledger.record(response, step.new)
        if self._gated:
            self._await(step, response.nonce)
        self._events.append(
            Sent(
                watch.type_url,
                response.nonce,
                self._push,
                resources=len(response.names),
                removed=len(response.removed),
                size=len(response.body),
                full=not watch.answered,
            )
        )
        watch.answered = True
        watch.applied = step.new
        watch.reported = {}
        return response.body

    def _arriving(self, step: Step) -> list[str]:
        """Return the clusters of a response that the client does not have yet, warm.

        Of one that it has, the old version serves until the new one is warm.
        """
        watch = step.watch
        arriving = [item.name for item in step.change.upserts]
        if step.new is watch.applied:  # asked for anew, so who knows what of it the client has
            return arriving
        cold = self._cold_clusters()
        had = watch.applied.resources if watch.answered else watch.reported
        return [name for name in arriving if name not in had or name in cold]

    def _await(self, step: Step, nonce: str) -> None:
        if step.watch.type_url not in AT_ONCE:
            self._naming.add((step.watch.type_url, nonce))
            if len(self._naming) > MAX_AWAITED:
                self._still_named()  # forgets what is answered
        elif step.watch.type_url == CLUSTER:
            arriving = self._arriving(step)
            self._cold.update(dict.fromkeys(arriving, nonce))
