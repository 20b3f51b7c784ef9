"""Progress: how far each replica of config-push is with each resource.

A receipt says it of a change, and of which generation of a resource the change was. What a replica
was given whole, when it started or came back, has no receipts: then it counts how its proxies stand
(`Standing`), if it took the mesh over after the resource was seen. Of a resource each replica's
latest receipt counts, until a look at all proxies (`looked`) says how those stand that are
connected by then and that the resource concerns.
"""

from collections.abc import Callable, Iterable, Mapping

from msgspec import Struct

from libs.model.ids import Ref
from libs.protos.receipts.v1.receipts_pb2 import Receipt, RefStanding, Rejection, Standing

MAX_REFUSALS = 3
"""Refusals of one replica that are kept in words."""


class Share(Struct, frozen=True):
    """What one replica did with a generation of a resource: numbers of proxies."""

    generation: int
    acknowledged: int
    rejected: int
    pending: int
    settled: bool
    refusals: tuple[str, ...] = ()  # `<proxy>: <its own words>`


class Progress(Struct, frozen=True):
    """What all replicas did with a resource."""

    shares: tuple[Share, ...] = ()
    standing: tuple[Standing, ...] = ()  # of replicas that got it with everything else
    waiting: int = 0  # replicas that have not spoken of it


class ProgressBook:
    """The latest word of each replica about each resource; `note` is called with what moves."""

    def __init__(self, note: Callable[[Ref], None], is_known: Callable[[Ref], bool]) -> None:
        self._note = note
        self._is_known = is_known
        self._shares: dict[str, dict[Ref, Share]] = {}
        self._standing: dict[str, Standing] = {}
        self._looks: dict[str, dict[Ref, RefStanding]] = {}

    def open(self, replica: str) -> None:
        """Wait for the word of a replica from now on."""
        self._shares.setdefault(replica, {})

    def close(self, replica: str) -> None:
        """Wait no longer: it has gone, and its proxies are somebody else's."""
        self._standing.pop(replica, None)
        self._looks.pop(replica, None)
        for reference in self._shares.pop(replica, {}):
            self._note(reference)

    def receipt(self, replica: str, receipt: Receipt) -> None:
        """Take a receipt of a replica."""
        shares = self._shares.get(replica)
        if shares is None:
            return
        generations = dict(zip(receipt.causes, receipt.generations, strict=False))
        for cause in map(Ref, receipt.causes):
            if self._is_known(cause):
                shares[cause] = _share(receipt, cause, generations.get(cause, 0))
                self._looks.get(replica, {}).pop(cause, None)  # of before that
                self._note(cause)

    def stands(self, replica: str, standing: Standing) -> None:
        """Take how the proxies of a replica stand."""
        if replica in self._shares:
            self._standing[replica] = standing

    def shares(self, replica: str, asked: Iterable[Ref]) -> Mapping[Ref, Share | None]:
        """Return what `looked` has to be given back with the answer to a look at `asked`."""
        shares = self._shares.get(replica, {})
        return {reference: shares.get(reference) for reference in asked}

    def looked(self, replica: str, found: Standing, asked: Mapping[Ref, Share | None]) -> None:
        """Take how the proxies stand that resources concern; `asked` is what was known then.

        What a replica has spoken of since, or is still waiting for, is as its receipt says. While
        no replica has a single proxy, as between two lives of the mesh, nothing is unsaid.
        """
        shares = self._shares.get(replica)
        if shares is None:
            return
        self._standing[replica] = found
        if not found.joined or not self.connected:
            return  # it never had any, or is of an earlier version; or nobody has any for now
        looks = self._looks.setdefault(replica, {})
        stand = {Ref(it.ref): it for it in found.resources}
        for reference, share in asked.items():
            if shares.get(reference) is not share or (share is not None and not share.settled):
                continue
            look = stand.get(reference) or RefStanding(ref=reference)
            if looks.get(reference) != look:
                looks[reference] = look
                self._note(reference)

    @property
    def connected(self) -> int:
        """All proxies of all replicas, as far as they were asked."""
        return sum(it.connected for it in self._standing.values())

    def forget(self, gone: Iterable[Ref]) -> None:
        """Forget resources that are no more."""
        for reference in gone:
            for shares in self._shares.values():
                shares.pop(reference, None)
            for looks in self._looks.values():
                looks.pop(reference, None)

    def of(self, reference: Ref, generation: int, seen: float) -> Progress:
        """Return what is known of a generation that was first seen at `seen`, wall seconds."""
        spoken: list[Share] = []
        standing: list[Standing] = []
        waiting = 0
        for replica, shares in self._shares.items():
            share, stands = shares.get(reference), self._standing.get(replica)
            look = self._looks.get(replica, {}).get(reference)
            told = share is not None and share.generation >= generation
            if look is not None and (told or (stands is not None and stands.taken_over > seen)):
                spoken.append(_looked(look, generation))
            elif told and share is not None:
                spoken.append(share)
            elif stands is not None and stands.taken_over > seen:
                standing.append(stands)
            else:
                waiting += 1
        return Progress(tuple(spoken), tuple(standing), waiting)

    @property
    def replicas(self) -> Mapping[str, Mapping[Ref, Share]]:
        """The shares of each replica. For reading."""
        return self._shares


def _share(receipt: Receipt, cause: Ref, generation: int) -> Share:
    blamed = [it for it in receipt.rejections if not it.sources or cause in it.sources]
    # Changes that were made together are pushed together; who refused another's part took this one.
    rejected = receipt.rejected if blamed else 0
    return Share(
        generation=generation,
        acknowledged=receipt.acknowledged + receipt.rejected - rejected,
        rejected=rejected,
        pending=receipt.pending,
        settled=receipt.settled,
        refusals=tuple(_words(it) for it in blamed[:MAX_REFUSALS]),
    )


def _looked(look: RefStanding, generation: int) -> Share:
    return Share(
        generation=generation,
        acknowledged=look.synced,
        rejected=look.rejecting,
        pending=look.concerned - look.synced - look.rejecting,
        settled=True,
        refusals=tuple(_words(it) for it in look.rejections[:MAX_REFUSALS]),
    )


def _words(rejection: Rejection) -> str:
    return f"{rejection.proxy}: {rejection.text}"
