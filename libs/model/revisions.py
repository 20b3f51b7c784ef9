"""Revisions: control planes side by side in one cluster, and how their names tell them apart.

The revision `default` has the plain names. Another one has its own name behind them, as Istio's
have: `istiod-canary`. What all revisions share, as the CA's Secrets, has one name.
"""

DEFAULT = "default"


def is_default(revision: str) -> bool:
    """Tell whether this is the revision that speaks for what is given to none."""
    return revision in {"", DEFAULT}


def named(name: str, revision: str) -> str:
    """Return what a revision calls its own `name`."""
    return name if is_default(revision) else f"{name}-{revision}"
