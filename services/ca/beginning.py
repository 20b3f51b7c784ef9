"""Beginning: what signs when a CA starts, by what its Secrets hold. Pure.

Nothing is guessed. A Secret that decides it and cannot be read stands for something that others
trust, and nobody knows what: whatever would sign instead could cut everybody off. So that is
refused, in words that name the Secret, and the CA waits (see `services.ca.root_secret`) for a
leader that knows what signs to write it again, or for its operator.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from msgspec import Struct

from libs.pki import authority
from libs.pki.errors import AuthorityError
from services.ca import in_use, rotation
from services.ca.in_use import InUse, Record
from services.ca.rotation import State
from services.ca.secrets import IN_USE, OWN, PLUGGED_IN, Secret

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WHAT_TO_DO = {
    IN_USE: f". It says what signs: restore it, or delete it if that is what is in {PLUGGED_IN} now"
}


class Found(Struct, frozen=True):
    """The Secrets, as far as there are any."""

    wanted: Secret | None
    """What an operator plugged in."""
    kept: Secret | None
    """What is recorded of what is plugged in."""
    own: Secret | None
    """Our own root."""


class GoOn(Struct, frozen=True):
    """Our own root signs, as it did."""

    state: State
    secret: Secret


class Follow(Struct, frozen=True):
    """What is recorded signs, as it did."""

    state: InUse
    secret: Secret


class Begin(Struct, frozen=True):
    """What is plugged in signs, once that is recorded."""

    state: InUse


class Make(Struct, frozen=True):
    """There is nothing: a root has to be made."""


Beginning = GoOn | Follow | Begin | Make


def decide(found: Found, *, now: float, longest: int) -> Beginning:
    """Return what signs; `longest`: seconds that certificates live if nothing says otherwise.

    Raises:
        AuthorityError: that cannot be known; the message says which Secret to mend.

    """
    own, kept, wanted = found.own, found.kept, found.wanted
    recorded = _named(IN_USE, lambda: in_use.decode(kept.content, now=now)) if kept else None
    read = partial(_own, now=now, longest=longest)
    if own and recorded and _went_on(read, own, recorded, replaced=wanted is not None):
        return GoOn(read(own), own)
    if wanted and (recorded is None or now > recorded.signer.validity[1]):
        signer = _named(PLUGGED_IN, lambda: authority.parse(wanted.content, now=now))
        if recorded is not None:
            return Begin(in_use.follow(recorded, signer, now=now))
        generation = _generation(read, own) if own else 0
        return Begin(in_use.begin(signer, Record(longest=longest, own=generation)))
    if kept and recorded:
        return Follow(recorded, kept)
    return GoOn(read(own), own) if own else Make()


Read = Callable[[Secret], State]


def _own(own: Secret, *, now: float, longest: int) -> State:
    return _named(OWN, lambda: rotation.decode(own.content, now=now, longest=longest))


def _went_on(read: Read, own: Secret, recorded: InUse, *, replaced: bool) -> bool:
    """Tell whether our own root signs, and what was recorded is of the past."""
    if _generation(read, own) > recorded.record.own:
        return True
    return not replaced and read(own).signer.certificate == recorded.signer.certificate


def _generation(read: Read, own: Secret) -> int:
    """Return how far our own root has come; what cannot be read holds nobody up here."""
    try:
        return read(own).record.generation
    except AuthorityError as error:
        logger.warning("secret not used", extra={"reason": str(error)})
        return 0


def _named(name: str, read: Callable[[], T]) -> T:
    """Return what is read of a Secret; if that cannot be done, the reason names it."""
    try:
        return read()
    except AuthorityError as error:
        message = f"the Secret {name} cannot be used: {error}{_WHAT_TO_DO.get(name, '')}"
        raise AuthorityError(message) from error
