"""Outcomes: what became of each patch, over the types and classes in which it can act.

And of listeners that two want: what the author of the one that lost should know.
"""

from collections.abc import Iterable

from libs.model.ids import Ref
from libs.xds.types import Conflict, Outcome, ResourceSet


def summed(sets: Iterable[ResourceSet]) -> list[Outcome]:
    """Return one outcome for each patch, by reference and place; the first error of each stays."""
    found: dict[tuple[Ref, int], Outcome] = {}
    for one in sets:
        for outcome in one.outcomes:
            key = (outcome.ref, outcome.index)
            before = found.get(key, Outcome(outcome.ref, outcome.index, 0))
            error = before.error or outcome.error
            found[key] = Outcome(*key, before.hits + outcome.hits, error)
    return [found[key] for key in sorted(found)]


def finding(outcome: Outcome) -> str:
    """Return what its author should know of a patch; empty if it did what it says."""
    if outcome.error and outcome.hits:
        return f"only in part: {outcome.error}"
    return outcome.error or ("" if outcome.hits else "the patch matches nothing")


def lost(conflict: Conflict) -> str:
    """Return what its author should know of a resource that lost connections."""
    keeper = str(conflict.kept) if conflict.kept else "the proxy itself"
    text = f"listener {conflict.listener} stays with {keeper} ({conflict.reason})"
    return f"{text}: connections to this one are not told apart from it"
