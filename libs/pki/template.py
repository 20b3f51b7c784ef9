"""Templates: what to issue. Everything about a certificate but its key is decided here.

Nothing of a request but its public key gets in, so nothing a workload writes into a request can.
"""

from msgspec import Struct

from libs.model.ids import SpiffeId
from libs.pki.errors import LifetimeError

BACKDATING_SECONDS = 120
"""Not before is this much earlier than now, for peers whose clocks are behind."""
MIN_LIFETIME_SECONDS = 60


class Lifetimes(Struct, frozen=True):
    """Seconds that a workload's certificate lives if it asks for nothing, and at most."""

    default: int = 24 * 3600
    maximum: int = 90 * 24 * 3600


class Template(Struct, frozen=True):
    """One certificate to be signed."""

    identity: SpiffeId
    not_before: int  # seconds since the epoch
    not_after: int
    dns_names: tuple[str, ...] = ()


def plan(
    identity: SpiffeId,
    *,
    requested: int,
    lifetimes: Lifetimes,
    signer: tuple[float, float],
    now: float,
    dns_names: tuple[str, ...] = (),
) -> Template:
    """Return what to issue to `identity` at `now`.

    Args:
        identity: proved by the caller's credential.
        requested: seconds; zero and less ask for the default.
        lifetimes: the default and the limit.
        signer: `(not before, not after)` of the signing certificate, which no leaf outlives.
        now: seconds since the epoch.
        dns_names: further names, derived from the identity.

    Raises:
        LifetimeError: more than the maximum was asked for, or the signer is not valid for long.

    """
    if requested > lifetimes.maximum:
        message = f"more than the longest validity of {lifetimes.maximum} s was asked for"
        raise LifetimeError(message)
    if now < signer[0]:
        message = "the signing certificate is not valid yet"
        raise LifetimeError(message)
    lifetime = requested if requested > 0 else lifetimes.default
    not_after = min(int(now) + lifetime, int(signer[1]))
    clamped = not_after < int(now) + lifetime
    if clamped and not_after - now < MIN_LIFETIME_SECONDS:
        message = "the signing certificate has expired, or is about to"
        raise LifetimeError(message)
    return Template(
        identity=identity,
        not_before=max(int(now) - BACKDATING_SECONDS, int(signer[0])),
        not_after=not_after,
        dns_names=dns_names,
    )
