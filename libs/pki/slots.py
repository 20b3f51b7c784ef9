"""Slots: which authority signs, which is getting ready, which is still trusted, over time.

prepare: a next authority is made, and its root distributed beside the current one. activate: it
signs, once every proxy has proved to trust it. retire: the old root is dropped, once nothing that
it signed can still be in use. All of it is data and pure functions of `now`, in seconds since the
epoch; who makes authorities, distributes roots and collects proof is not decided here.
"""

from msgspec import Struct
from msgspec.structs import replace

DAY = 24 * 3600.0
PREPARE_SHARE, PREPARE_CAP = 1 / 2, 30 * DAY
ACTIVATE_SHARE, ACTIVATE_CAP = 1 / 6, 7 * DAY
RETIRE_GRACE = DAY


class Slot(Struct, frozen=True):
    """One authority, by the fingerprint of its certificate."""

    id: str
    not_before: float
    not_after: float


class Retiring(Struct, frozen=True):
    """An authority that no longer signs, and the end of the last certificate that it signed."""

    slot: Slot
    last_leaf: float


class Slots(Struct, frozen=True):
    """Who signs now, who comes next, and who is still to be trusted."""

    current: Slot
    next: Slot | None = None
    retiring: tuple[Retiring, ...] = ()

    @property
    def trusted(self) -> tuple[str, ...]:
        """The authorities whose roots belong in the bundle, in the order of their age."""
        coming = (self.next.id,) if self.next else ()
        return (*(old.slot.id for old in self.retiring), self.current.id, *coming)


def should_prepare(slots: Slots, now: float) -> bool:
    """Tell whether it is time to make the next one: in the last half of the current one's life."""
    return slots.next is None and now >= _late(slots.current, PREPARE_SHARE, PREPARE_CAP)


def prepare(slots: Slots, slot: Slot) -> Slots:
    """Return the slots with `slot` as the next one.

    Raises:
        ValueError: there is a next one already, or `slot` does not outlive the current one.

    """
    if slots.next is not None or slot.not_after <= slots.current.not_after:
        message = "only an authority that lives longer can be next, and only one"
        raise ValueError(message)
    return replace(slots, next=slot)


def should_activate(slots: Slots, now: float, *, trusted_by_all: bool) -> bool:
    """Tell whether the next authority should sign.

    In the last sixth of the current one's life, and with proof that every proxy trusts it. When
    the current one can no longer sign, the next one does without proof: certificates that most
    proxies trust are better than none.
    """
    if slots.next is None or now < slots.next.not_before:
        return False
    due = now >= _late(slots.current, ACTIVATE_SHARE, ACTIVATE_CAP)
    return (due and trusted_by_all) or now >= slots.current.not_after


def activate(slots: Slots, *, last_leaf: float) -> Slots:
    """Return the slots with the next authority as the current one.

    Args:
        slots: with a next one.
        last_leaf: when the last certificate that the old one signed expires.

    Raises:
        ValueError: there is no next one.

    """
    if slots.next is None:
        message = "there is no next authority"
        raise ValueError(message)
    old = Retiring(slots.current, last_leaf)
    return Slots(current=slots.next, retiring=(*slots.retiring, old))


def should_retire(slots: Slots, now: float) -> bool:
    """Tell whether an old root can be dropped: a day after all that it signed has expired."""
    return any(_gone(old, now) for old in slots.retiring)


def retire(slots: Slots, now: float) -> Slots:
    """Return the slots without the old authorities whose certificates have all expired."""
    return replace(slots, retiring=tuple(old for old in slots.retiring if not _gone(old, now)))


def _late(slot: Slot, share: float, cap: float) -> float:
    return slot.not_after - min((slot.not_after - slot.not_before) * share, cap)


def _gone(old: Retiring, now: float) -> bool:
    return now >= min(old.last_leaf, old.slot.not_after) + RETIRE_GRACE
