"""What an access policy asks for that proxies cannot do yet, said in words.

Such a policy is not ignored. What cannot be judged is refused (CUSTOM), or never matches (tokens),
so that nobody gets in by a feature that is missing.
"""

from collections.abc import Iterator
from typing import NamedTuple

from libs.model.security import AccessPolicy, AccessRule, Action


class Unsupported(NamedTuple):
    """One part of a policy: its field path, and what happens instead."""

    path: str
    text: str


_NO_TOKENS = "tokens are not verified yet, so that this matches no request"
_TOKEN_FIELDS = (
    ("request_principals", "requestPrincipals"),
    ("not_request_principals", "notRequestPrincipals"),
)


def unsupported(policy: AccessPolicy) -> list[Unsupported]:
    """Return the parts of `policy` that are not done yet, in the order in which they stand."""
    found: list[Unsupported] = []
    if policy.action is Action.CUSTOM:
        text = "external authorizers are not done yet: whatever the rules cover is refused"
        found.append(Unsupported("spec.action", text))
    for index, rule in enumerate(policy.rules):
        found += (Unsupported(f"spec.rules[{index}].{path}", _NO_TOKENS) for path in _tokens(rule))
    return found


def _tokens(rule: AccessRule) -> Iterator[str]:
    """Yield the places in a rule that test a token."""
    for index, source in enumerate(rule.sources):
        for field, name in _TOKEN_FIELDS:
            if getattr(source, field):
                yield f"from[{index}].source.{name}"
    for index, condition in enumerate(rule.conditions):
        if condition.key.startswith("request.auth."):
            yield f"when[{index}].key"
