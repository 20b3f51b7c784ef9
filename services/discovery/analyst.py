"""Analyst: findings about the latest state, and about what a resource would make of it.

Unlike problems, findings are not looked for at every change, because they may be true for a while
in any healthy mesh. One analysis runs at a time, in a thread; who asks meanwhile waits, and gets
the same answer if nothing has changed. Dry runs are as many as there are callers who wait for them:
each caller has a deadline, and a server a limit of calls.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.api.resource import Resource
from libs.api.security.request_authentication import RequestAuthentication
from libs.inject import analysis as injection
from libs.inject.analysis.subject import JUDGED, of_resource
from libs.translate import analysis
from libs.translate.apply import State, Upsert, apply


class Analyst:
    """Analyses each state at most once."""

    def __init__(
        self,
        state: Callable[[], State],
        located: Callable[[Problem], Problem],
        *,
        fetches_anywhere: bool = False,
    ) -> None:
        """`fetches_anywhere` if keys of issuers may be fetched from whatever address it is."""
        self._state = state
        self._located = located
        self._fetches_anywhere = fetches_anywhere
        self._one_at_a_time = asyncio.Lock()
        self._known: tuple[State, tuple[Problem, ...]] | None = None

    async def findings(self) -> tuple[Problem, ...]:
        """Return what is noticed about the latest state, with file and line where there are any."""
        async with self._one_at_a_time:
            state = self._state()
            if self._known is None or self._known[0] is not state:
                found = await asyncio.to_thread(_found, state)
                found += _fetches(state) if self._fetches_anywhere else []
                self._known = state, tuple(map(self._located, found))
            return self._known[1]

    async def foresee(self, resource: Resource) -> tuple[Problem, ...]:
        """Return what would be wrong with a resource, and newly wrong with others, by applying it.

        What is wrong with the resource by itself is no part of it.
        """
        state = self._state()
        return await asyncio.to_thread(_foreseen, state, resource)


def _found(state: State) -> list[Problem]:
    """What resources say of each other, and what is odd about pods and who injects them."""
    every = (it for kind in JUDGED for it in state.resources.get(kind, {}).values())
    odd = injection.findings(map(of_resource, every), state.settings.root_namespace)
    return sorted({*analysis.findings(state), *odd})


def _fetches(state: State) -> list[Problem]:
    """Return whose keys are fetched from where a user says, while nothing is forbidden."""
    found = []
    for resource in state.resources.get(RequestAuthentication.__name__, {}).values():
        rules = cast("RequestAuthentication", resource).spec.jwt_rules
        for index, rule in enumerate(rules):
            if rule.jwks_uri:
                path, reason = f"spec.jwtRules[{index}].jwksUri", reasons.UNRESTRICTED_FETCH
                text = "discovery may fetch it from loopback and private addresses alike: see"
                text = f"{text} SEINE_KEYS_FROM_LOOPBACK and SEINE_KEYS_FROM_PRIVATE"
                found.append(Problem(resource.ref, path, reason, text, Severity.WARNING))
    return found


def _foreseen(state: State, resource: Resource) -> tuple[Problem, ...]:
    known = set(state.problems)
    after = apply(state, [Upsert(resource)]).problems
    return tuple(it for it in after if it.ref == resource.ref or it not in known)
