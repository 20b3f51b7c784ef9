"""Receipts: what became of each change: who was told, who accepted it, who refused it and why.

Changes of one round share one track, because proxies get them in one push. A track is settled when
nobody is waited for any more; a proxy that leaves is not waited for. The latest `history` tracks
are held, then the oldest is forgotten. Followers are told the latest state of whatever moved since
they last looked, so a slow one sees fewer steps and never a wrong count.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator

from libs.model.delta import Delta
from libs.model.ids import Ref
from libs.protos.findings.v1.findings_pb2 import Patch
from libs.protos.receipts.v1.receipts_pb2 import ClassReceipt, Receipt, Rejection
from libs.runtime.clock import Clock
from libs.xds.stream.events import Acked, Event, Nacked, Sent, Stale
from services.config_push import metrics
from services.config_push.connection import Applied, Connection
from services.config_push.connections import Connections
from services.config_push.push import Round

MAX_REJECTIONS = 32
_PATCHING = "EnvoyFilter/"

_Response = tuple[str, str]  # type URL, nonce


class _Share:
    """What one proxy has to do with a round."""

    __slots__ = ("counts", "refused", "unanswered", "whole")

    def __init__(self) -> None:
        self.whole = False  # it was sent all that the round has for it
        self.refused = False
        self.unanswered: set[_Response] = set()
        self.counts: _Counts | None = None  # of its class, once it was sent anything


class _Counts:
    """Counts for the proxies of one class."""

    __slots__ = ("accepted", "answered", "pending", "rejected", "sent", "types")

    def __init__(self) -> None:
        self.sent = self.accepted = self.rejected = self.pending = 0
        self.answered = 0.0
        self.types: set[str] = set()


class _Track:
    """One round on its way to all proxies."""

    def __init__(self, round_: Round, connected: Iterable[int]) -> None:
        self.push = round_.push
        self.changes = round_.changes
        self.waited_for = {number: _Share() for number in connected}
        self.connected = len(self.waited_for)
        self.classes: dict[str, _Counts] = {}
        self.rejections: list[Rejection] = []
        self.answered = 0.0  # wall seconds of the latest answer

    @property
    def settled(self) -> bool:
        return not self.waited_for

    def wants(self, number: int, push: int) -> bool:
        share = self.waited_for.get(number)
        return share is not None and not share.whole and self.push <= push

    def send(self, connection: Connection, responses: set[_Response], *, whole: bool) -> None:
        share = self.waited_for[connection.number]
        share.whole = whole
        share.unanswered |= responses
        if responses:
            counts = share.counts or self._count(share, connection.class_name)
            counts.types.update(type_url for type_url, _ in responses)
        self._finish_if_done(connection.number, share)

    def answer(self, number: int, response: _Response, now: float) -> None:
        share = self.waited_for.get(number)
        if share is None or share.counts is None or response not in share.unanswered:
            return
        self.answered = share.counts.answered = now
        share.unanswered.discard(response)
        self._finish_if_done(number, share)

    def refuse(self, number: int, rejection: Rejection) -> None:
        share = self.waited_for.get(number)
        if share is not None:
            share.refused = True
        if len(self.rejections) < MAX_REJECTIONS:
            self.rejections.append(rejection)

    def leave(self, number: int) -> bool:
        """Wait no longer for a proxy; False if nobody did."""
        share = self.waited_for.pop(number, None)
        if share is not None and share.counts is not None:
            share.counts.pending -= 1
            share.counts.rejected += share.refused
        return share is not None

    def _count(self, share: _Share, class_name: str) -> _Counts:
        counts = share.counts = self.classes.setdefault(class_name, _Counts())
        counts.sent += 1
        counts.pending += 1
        return counts

    def _finish_if_done(self, number: int, share: _Share) -> None:
        if not share.whole or share.unanswered:
            return
        del self.waited_for[number]
        if share.counts is not None:
            share.counts.pending -= 1
            share.counts.rejected += share.refused
            share.counts.accepted += not share.refused


class ReceiptBook:
    """The receipts of the latest changes."""

    def __init__(self, *, clock: Clock, history: int) -> None:
        self._clock = clock
        self._tracks: deque[_Track] = deque(maxlen=history)
        self._open: dict[int, _Track] = {}  # by push
        self._responses: dict[int, dict[_Response, list[_Track]]] = {}  # by connection
        self._followers: set[_Follower] = set()
        self.patches: Callable[[Ref], Iterable[Patch]] = lambda _: ()
        """Returns the patches of a resource that do not do what they say."""

    def begin(self, round_: Round, connections: Connections) -> None:
        """Open the receipts of a round's changes; a proxy counts once, by its Envoy's stream."""
        if not round_.changes:
            return
        track = _Track(round_, (one.number for one in connections if not one.of_agent))
        if len(self._tracks) == self._tracks.maxlen:
            self._open.pop(self._tracks[0].push, None)
        self._tracks.append(track)
        self._open[track.push] = track
        self._moved(track)

    def observe(self, connection: Connection, what: Applied | Event) -> None:
        """Record what happened on a stream."""
        match what:
            case Applied():
                self._applied(connection, what)
            case Acked(type_url, nonce):
                self._answered(connection.number, (type_url, nonce))
            case Nacked():
                self._refused(connection, what)
            case Sent() | Stale():
                pass  # the answer to a request of the proxy's own: no change caused it

    def left(self, connection: Connection) -> None:
        """Wait no longer for a proxy."""
        self._responses.pop(connection.number, None)
        for track in list(self._open.values()):
            if track.leave(connection.number):
                self._moved(track)

    def receipts(self, ref: str = "", after: int = 0) -> list[Receipt]:
        """Return the receipts that are held, oldest first."""
        return [one for track in self._tracks for one in self._receipts(track, ref, after)]

    async def follow(self, ref: str = "", after: int = 0) -> AsyncGenerator[Receipt, None]:
        """Yield the receipts that are held, and then each that moves, until closed."""
        follower = _Follower(self._tracks)
        self._followers.add(follower)
        try:
            while True:
                for track in await follower.moved():
                    for receipt in self._receipts(track, ref, after):
                        yield receipt
        finally:
            self._followers.discard(follower)

    def note_patches(self) -> None:
        """Tell again of the latest changes of what has patches: something became of these."""
        for track in {id(one): one for one in self._latest().values()}.values():
            self._moved(track)

    def _latest(self) -> dict[Ref, _Track]:
        """Return the latest track of each resource with patches."""
        causes = ((cause, it) for it in self._tracks for one in it.changes for cause in one.causes)
        return {cause: track for cause, track in causes if cause.startswith(_PATCHING)}

    def _receipts(self, track: _Track, ref: str, after: int) -> Iterator[Receipt]:
        for receipt in _receipts(track, ref, after):
            patching = [Ref(one) for one in receipt.causes if one.startswith(_PATCHING)]
            latest = self._latest() if patching else {}
            for cause in patching:
                if latest.get(cause) is track:
                    receipt.patches.extend(self.patches(cause))
            yield receipt

    def _applied(self, connection: Connection, applied: Applied) -> None:
        sent = {
            (event.type_url, event.nonce) for event in applied.events if isinstance(event, Sent)
        }
        known = self._responses.setdefault(connection.number, {})
        for track in list(self._open.values()):
            if track.wants(connection.number, applied.offer.push):
                track.send(connection, sent, whole=applied.offer.whole and not applied.held)
                for response in sent:
                    known.setdefault(response, []).append(track)
                self._moved(track)

    def _answered(self, number: int, response: _Response) -> list[_Track]:
        tracks = self._responses.get(number, {}).pop(response, [])
        for track in tracks:
            track.answer(number, response, self._clock.now())
            self._moved(track)
        return tracks

    def _refused(self, connection: Connection, event: Nacked) -> None:
        for track in self._responses.get(connection.number, {}).get(
            (event.type_url, event.nonce), []
        ):
            track.refuse(connection.number, _rejection(connection, event))
        self._answered(connection.number, (event.type_url, event.nonce))

    def _moved(self, track: _Track) -> None:
        if track.settled:
            self._open.pop(track.push, None)
        metrics.RECEIPTS_OPEN.set(len(self._open))
        for follower in self._followers:
            follower.tell(track)


class _Follower:
    """What one reader has not been told yet: at most each track once."""

    def __init__(self, tracks: deque[_Track]) -> None:
        self._dirty: dict[int, _Track] = {track.push: track for track in tracks}
        self._wake = asyncio.Event()
        if self._dirty:
            self._wake.set()

    def tell(self, track: _Track) -> None:
        self._dirty[track.push] = track
        self._wake.set()

    async def moved(self) -> list[_Track]:
        await self._wake.wait()
        self._wake.clear()
        dirty, self._dirty = self._dirty, {}
        return list(dirty.values())


def _receipts(track: _Track, ref: str, after: int) -> Iterator[Receipt]:
    for change in track.changes:
        if change.change > after and (not ref or Ref(ref) in change.causes):
            yield _receipt(track, change)


def _receipt(track: _Track, change: Delta) -> Receipt:
    classes = [_class_receipt(track, name, change) for name in sorted(track.classes)]
    return Receipt(
        change=change.change,
        causes=change.causes,
        generations=change.generations,
        observed=change.observed,
        connected=track.connected,
        sent=sum(one.sent for one in classes),
        acknowledged=sum(one.acknowledged for one in classes),
        rejected=sum(one.rejected for one in classes),
        pending=sum(one.pending for one in classes),
        milliseconds=_milliseconds(track.answered, change),
        settled=track.settled,
        classes=classes,
        rejections=track.rejections,
    )


def _class_receipt(track: _Track, name: str, change: Delta) -> ClassReceipt:
    counts = track.classes[name]
    return ClassReceipt(
        name=name,
        sent=counts.sent,
        acknowledged=counts.accepted,
        rejected=counts.rejected,
        pending=counts.pending,
        milliseconds=_milliseconds(counts.answered, change),
        types=sorted(counts.types),
    )


def _milliseconds(answered: float, change: Delta) -> float:
    return max(answered - change.observed, 0.0) * 1000 if answered and change.observed else 0.0


def _rejection(connection: Connection, event: Nacked) -> Rejection:
    return Rejection(
        proxy=connection.proxy_id,
        type_url=event.type_url,
        resources=event.resources,
        text=event.text,
        sources=event.sources,
    )
