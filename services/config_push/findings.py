"""Findings: what became of patches of EnvoyFilters, and who lost a listener, at the proxies here.

Looked for when something has moved, at most every ROUND_SECONDS, because it looks at every proxy.
Whoever watches gets the latest list and misses those in between. At most MAX_PATCHES patches are
told of, those with findings first, and MAX_CONFLICTS conflicts; the rest is counted in the list and
in a metric. What a finding is called and how bad it is, discovery decides.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping

from msgspec import Struct

from libs.model.ids import Ref
from libs.protos.findings.v1 import findings_pb2
from libs.protos.findings.v1.findings_pb2 import Finding, Patch, PatchList
from libs.runtime.clock import Clock
from libs.xds import outcomes
from libs.xds.types import BOOTSTRAP, LISTENER, Conflict, Outcome, ResourceSet
from services.config_push import metrics
from services.config_push.connection import Connection
from services.config_push.connections import Connections

ROUND_SECONDS = 0.5
MAX_PATCHES = 1000
MAX_CONFLICTS = 1000
MAX_TEXT = 500
WHOLE = -1
"""In place of a patch's number: it cannot be told which one it was."""

USED, REFUSED = "SEINE_BOOTSTRAP", "SEINE_BOOTSTRAP_REFUSED"
"""Metadata by which an agent says with which patches of the bootstrap its Envoy was started."""

_NOT_ASKED = "its proxy does not ask for patches of its bootstrap"
_LATER = "takes effect at the next start of the proxy"

_Place = tuple[Ref, int]


class _Row:
    """What is counted of one patch."""

    __slots__ = ("applied", "found", "proxies")

    def __init__(self) -> None:
        self.proxies = self.applied = 0
        self.found: dict[Finding.Kind.ValueType, tuple[str, int]] = {}

    def add(self, kind: Finding.Kind.ValueType, text: str, proxies: int) -> None:
        before = self.found.get(kind, (text, 0))
        # One text stands for all: always the same one, so that nothing moves for its sake.
        self.found[kind] = (min(before[0], text), before[1] + proxies)


class Watched(Struct, frozen=True):
    """What is asked of one proxy."""

    sets: Mapping[str, ResourceSet]
    errors: Mapping[str, tuple[str, tuple[Ref, ...]]]  # by type: Envoy's words, whose it was
    metadata: Mapping[str, object]


def watched(connection: Connection) -> Watched:
    """Return what is asked of the proxy of a stream."""
    ledgers = {url: watch.ledger for url, watch in connection.session.watches.items()}
    errors = {
        url: (ledger.error, tuple(ledger.guilty_sources))
        for url, ledger in ledgers.items()
        if ledger.error
    }
    return Watched(connection.before, errors, connection.peer.metadata)


def found(proxies: Iterable[Watched], conflicts: Iterable[Conflict] = ()) -> PatchList:
    """Return what became of each patch, and who lost what to whom."""
    rows: dict[_Place, _Row] = defaultdict(_Row)
    for alike in _classes(proxies):
        _count(rows, alike)
        for proxy in alike:
            _refusals(rows, proxy)
            _bootstrap(rows, proxy)
    return _list(rows, sorted(set(conflicts)))


def _classes(proxies: Iterable[Watched]) -> Iterable[list[Watched]]:
    """Put together those that have the very same sets: they share what became of patches."""
    alike: dict[tuple[int, ...], list[Watched]] = defaultdict(list)
    for proxy in proxies:
        patched = tuple(id(one) for one in proxy.sets.values() if one.outcomes)
        if patched:
            alike[patched].append(proxy)
    return alike.values()


def _count(rows: dict[_Place, _Row], alike: list[Watched]) -> None:
    for outcome in outcomes.summed(alike[0].sets.values()):
        row = rows[outcome.ref, outcome.index]
        row.proxies += len(alike)
        if outcome.hits:
            row.applied += len(alike)
        if outcome.error:
            row.add(Finding.MISFIT, outcomes.finding(outcome), len(alike))


def _refusals(rows: dict[_Place, _Row], proxy: Watched) -> None:
    for type_url, (text, sources) in proxy.errors.items():
        resources = proxy.sets.get(type_url)
        for place in _blamed(resources.outcomes if resources else (), frozenset(sources)):
            rows[place].add(Finding.REFUSED, text[:MAX_TEXT], 1)


def _blamed(all_of_it: Iterable[Outcome], sources: frozenset[Ref]) -> Iterable[_Place]:
    """Yield the patches that what was refused may come from: of each resource one, or WHOLE."""
    by_ref: dict[Ref, list[int]] = defaultdict(list)
    for outcome in all_of_it:
        if outcome.hits and outcome.ref in sources:
            by_ref[outcome.ref].append(outcome.index)
    for ref, numbers in by_ref.items():
        yield ref, numbers[0] if len(numbers) == 1 else WHOLE


def _bootstrap(rows: dict[_Place, _Row], proxy: Watched) -> None:
    """Compare what a proxy was started with with what it would be started with now."""
    resources = proxy.sets.get(BOOTSTRAP)
    if resources is None or not resources.resources:
        return
    (wanted,) = resources.resources.values()
    used, refused = proxy.metadata.get(USED), str(proxy.metadata.get(REFUSED, ""))
    if used == wanted.version:
        return
    kind: Finding.Kind.ValueType = Finding.NOT_IN_FORCE
    text = _NOT_ASKED if used is None else _LATER
    version, _, why = refused.partition(" ")
    if version == wanted.version:
        kind, text = Finding.REFUSED, why[:MAX_TEXT]
    for outcome in resources.outcomes:
        if outcome.hits:
            rows[outcome.ref, outcome.index].add(kind, text, 1)


def _list(rows: Mapping[_Place, _Row], conflicts: list[Conflict]) -> PatchList:
    ordered = sorted(rows, key=lambda place: (not rows[place].found, place))
    kept = sorted(ordered[:MAX_PATCHES])
    told = conflicts[:MAX_CONFLICTS]
    left_out = len(ordered) - len(kept) + len(conflicts) - len(told)
    metrics.FINDINGS_LEFT_OUT.set(left_out)
    return PatchList(
        patches=[_patch(place, rows[place]) for place in kept],
        left_out=left_out,
        conflicts=[findings_pb2.Conflict(**one._asdict()) for one in told],
    )


def _patch(place: _Place, row: _Row) -> Patch:
    return Patch(
        ref=place[0],
        index=place[1],
        proxies=row.proxies,
        applied=row.applied,
        findings=[
            Finding(kind=kind, text=text, proxies=proxies)
            for kind, (text, proxies) in sorted(row.found.items())
        ],
    )


def _count_conflicts(conflicts: Iterable[Conflict]) -> None:
    """Count each place at which somebody lost something, by reason."""
    counted = Counter(dict.fromkeys(metrics.CONFLICT_REASONS, 0))
    counted.update(one.reason for one in conflicts)
    for reason, number in counted.items():
        metrics.LISTENER_CONFLICTS.labels(reason=reason).set(number)


def _misses(patch: Patch) -> bool:
    return bool(patch.proxies) and not patch.applied


class Findings:
    """The latest list, and everyone who watches it."""

    def __init__(
        self, connections: Connections, clock: Clock, *, patched: Callable[[], bool]
    ) -> None:
        """`patched` tells whether there are patches at all: mostly there are none."""
        self.moved: Callable[[], None] = lambda: None
        """Called whenever the list has changed."""
        self._connections = connections
        self._patched = patched
        self._clock = clock
        self._latest = PatchList()
        self._noted = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def latest(self) -> PatchList:
        """The latest list."""
        return self._latest

    def of(self, ref: Ref) -> list[Patch]:
        """Return the patches of a resource that do not do what they say."""
        return [it for it in self._latest.patches if it.ref == ref and (it.findings or _misses(it))]

    def note(self) -> None:
        """Look again: something was sent, answered, or somebody has left."""
        self._noted.set()

    async def run(self) -> None:
        """Look whenever something was noted, until cancelled."""
        while True:
            await self._noted.wait()
            self._noted.clear()
            conflicts = self._conflicts()
            _count_conflicts(conflicts)
            now = found(self._watched(), conflicts)
            if now != self._latest:
                self._latest = now
                self._changed.set()
                self._changed = asyncio.Event()
                self.moved()
            await self._clock.sleep(ROUND_SECONDS)

    def _watched(self) -> Iterator[Watched]:
        for connection in self._connections if self._patched() else ():
            if not connection.of_agent and any(one.outcomes for one in connection.before.values()):
                yield watched(connection)

    def _conflicts(self) -> set[Conflict]:
        """Return the conflicts of all proxies; proxies with equal listeners share one set."""
        offered = (connection.before.get(LISTENER) for connection in self._connections)
        sets = {id(one): one for one in offered if one is not None and one.conflicts}
        return {conflict for one in sets.values() for conflict in one.conflicts}

    async def follow(self) -> AsyncIterator[PatchList]:
        """Yield the list at once, and again whenever it has changed."""
        sent: PatchList | None = None
        while True:
            changed = self._changed
            if sent != self._latest:
                sent = self._latest
                yield sent
            else:
                await changed.wait()
