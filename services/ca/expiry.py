"""Expiry: when what signs ends, as metrics; alerts stand on them."""

from libs.pki.authority import Authority
from services.ca import metrics


def publish(authority: Authority, *, now: float) -> None:
    """Set the gauges; call it now and then, because some of them count down."""
    root = min(one.not_valid_after_utc.timestamp() for one in authority.roots)
    chain = authority.validity[1]
    metrics.ROOT_EXPIRY.set(root)
    metrics.ROOT_EXPIRY_SECONDS.set(root - now)
    metrics.CHAIN_EXPIRY.set(chain)
    metrics.CHAIN_EXPIRY_SECONDS.set(chain - now)
