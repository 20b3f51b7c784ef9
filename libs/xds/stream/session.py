"""Session: what both protocols share: the watches, what a snapshot changes for each, and events."""

from msgspec import Struct

from libs.xds.stream.difference import Difference
from libs.xds.stream.events import Acked, Event, Nacked, Sent, Stale
from libs.xds.stream.limits import Limits
from libs.xds.stream.responses import Response, Responses
from libs.xds.stream.watch import Watch, in_push_order
from libs.xds.types import CLUSTER, ENDPOINT, EXTENSION, ResourceSet, Snapshot

NOTHING: frozenset[str] = frozenset()
DEFAULT_LIMITS = Limits()


class Step(Struct, frozen=True, gc=False):
    """One response to be made: `change` takes the client of `watch` to `new`."""

    watch: Watch
    change: Difference
    new: ResourceSet


class Session:
    """One stream over all its types. Answers nothing before its first snapshot."""

    def __init__(self, responses: Responses, limits: Limits = DEFAULT_LIMITS) -> None:
        self._responses = responses
        self._limits = limits
        self._snapshot = Snapshot({})
        self._push = 0
        self._watches: dict[str, Watch] = {}
        self._events: list[Event] = []

    @property
    def watches(self) -> dict[str, Watch]:
        """What is watched, by type URL. For reading."""
        return self._watches

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
        return [self._emit(step) for step in self._in_order(self._steps())]

    def _first(self, watch: Watch, new: ResourceSet) -> Difference:
        raise NotImplementedError

    def _encode(self, step: Step, nonce: str) -> Response:
        raise NotImplementedError

    def _worth_sending(self, step: Step) -> bool:
        return bool(step.change)

    def _in_order(self, steps: list[Step]) -> list[Step]:
        return steps

    def _record(self, watch: Watch, nonce: str, error: str | None) -> Acked | Nacked | Stale:
        """Record the client's answer to the response of `nonce`; `error` None means accepted."""
        known = watch.ledger.accept(nonce) if error is None else watch.ledger.refuse(nonce, error)
        event = known or Stale(watch.type_url, nonce)
        self._events.append(event)
        return event

    def _send_first(self, watch: Watch) -> list[bytes]:
        """Answer the first request of a type."""
        new = self._snapshot.sets.get(watch.type_url)
        if new is None:
            return []
        return self._send(Step(watch, self._first(watch, new), new))

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

    def _steps(self) -> list[Step]:
        steps: list[Step] = []
        warming = NOTHING
        for watch in in_push_order(self._watches.values()):
            new = self._snapshot.sets.get(watch.type_url)
            if new is None:
                continue
            again = warming if watch.type_url == ENDPOINT else NOTHING
            step = Step(watch, self._change(watch, new, again), new)
            if watch.type_url == CLUSTER:
                warming = self._warming(watch, step.change)
            watch.applied = new
            if not watch.answered or self._worth_sending(step):
                steps.append(step)
        return steps

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
