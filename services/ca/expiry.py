"""Expiry: when what signs ends, as metrics; alerts stand on them."""

from libs.pki.authority import Authority, Certificate
from services.ca import metrics


def publish(authority: Authority, *, now: float, plugged_in: bool) -> None:
    """Set the gauges; call it now and then, because some of them count down."""
    metrics.LIFE_LEFT.set(life_left(authority, now=now))
    metrics.PLUGGED_IN.set(plugged_in)
    root = min(one.not_valid_after_utc.timestamp() for one in authority.roots)
    chain = authority.validity[1]
    metrics.ROOT_EXPIRY.set(root)
    metrics.ROOT_EXPIRY_SECONDS.set(root - now)
    metrics.CHAIN_EXPIRY.set(chain)
    metrics.CHAIN_EXPIRY_SECONDS.set(chain - now)


def life_left(authority: Authority, *, now: float) -> float:
    """Return which share of its life is left of what ends first: what signs, or one above it.

    Roots that only have to be trusted, because they are to come or to go, do not count.
    """
    top = authority.chain[-1].issuer
    above = [root for root in authority.roots if root.subject == top]
    signs = [one for one in above if one in authority.chain] or above
    return min(_left(one, now) for one in [*authority.chain, *signs])


def _left(one: Certificate, now: float) -> float:
    start, end = one.not_valid_before_utc.timestamp(), one.not_valid_after_utc.timestamp()
    return (end - now) / (end - start)
