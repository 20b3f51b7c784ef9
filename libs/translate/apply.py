"""Apply: events in, the next mesh out. The only entry to translation.

`apply` is pure: the state it is given never changes, and what did not move is shared with the next.
Applying events one by one, or all at once, or in another order, leads to the same mesh.

A rule that crashes is a bug of ours. It concerns the object it was about, whose rows stay as they
were, with a problem that says so, and nobody else.
"""

import traceback
from collections.abc import Sequence

from libs.api import reasons
from libs.api.problem import Problem
from libs.api.resource import Resource
from libs.model.ids import Ref
from libs.translate.draft import Causes, Draft
from libs.translate.events import Event, Remove, Upsert
from libs.translate.rules import RULES, Rule
from libs.translate.state import Derived, Fact, State, Step, Unit, initial
from libs.translate.view import View

_QUOTED = 200

__all__ = ["Event", "Remove", "State", "Step", "Upsert", "apply", "initial"]


def apply(state: State, events: Sequence[Event]) -> Step:
    """Return what `events` lead to: the next state, which rows moved, and all problems there are.

    `delta.causes` names those events' resources that moved a row; `delta` is empty when none did.
    """
    draft = Draft(state)
    for event in events:
        draft.take(event)
    for rule in RULES:
        for owner, causes in draft.stale(rule.name, rule.kind.__name__):
            _derive(draft, rule, owner=owner, causes=causes)
    return draft.step()


def _derive(draft: Draft, rule: Rule, *, owner: Ref, causes: Causes) -> None:
    kind = rule.kind.__name__
    resource: Resource | None = draft.resource(kind, owner)
    unit = Unit(rule.name, owner)
    if resource is None:
        draft.settle(unit, Derived(), reads=frozenset(), causes=causes)
        return
    view = View(draft)
    try:
        derived = rule.derive(view, resource)
    except Exception as error:  # noqa: BLE001  # one object must not hold up all others
        derived = draft.kept(unit, crash(owner, rule.name, error))
    reads = frozenset(view.reads | {Fact(kind, owner)})
    draft.settle(unit, derived, reads=reads, causes=causes)


def crash(owner: Ref, doing: str, error: Exception) -> Problem:
    """Return the problem that stands for a bug of ours which an object brought to light."""
    places = [
        f"{frame.f_code.co_filename.rpartition('/')[2]}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    place = places[-1] if places else "?"
    words = f"{type(error).__name__} at {place}: {str(error)[:_QUOTED]}"
    text = f"a bug of ours in {doing!r}, please report it; its last good state stays ({words})"
    return Problem(owner, "", reasons.INTERNAL_ERROR, text)
