"""What an access policy asks for that proxies cannot do yet, said in words.

Such a policy is not ignored: what cannot be judged is refused, so that nobody gets in by a feature
that is missing.
"""

from typing import NamedTuple

from libs.model.security import AccessPolicy, Action


class Unsupported(NamedTuple):
    """One part of a policy: its field path, and what happens instead."""

    path: str
    text: str


def unsupported(policy: AccessPolicy) -> list[Unsupported]:
    """Return the parts of `policy` that are not done yet, in the order in which they stand."""
    found: list[Unsupported] = []
    if policy.action is Action.CUSTOM:
        text = "external authorizers are not done yet: whatever the rules cover is refused"
        found.append(Unsupported("spec.action", text))
    return found
