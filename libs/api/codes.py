"""Codes: the name that Istio's analyzers have for what a problem says, if they have one.

A reason carries its codes in `libs.api.reasons`; here is only what needs more of the problem than
its reason and kind. People who know `istioctl analyze` filter by these.
"""

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.ids import parse_ref

SCHEMA_ERROR, SCHEMA_WARNING = "IST0106", "IST0133"
_INVALID_ANNOTATION = "IST0125"
_ANNOTATIONS = "metadata.annotations["
INFORMATIVE = frozenset(
    {"IST0102", "IST0118", "IST0131", "IST0135", "IST0136", "IST0148", "IST0164"}
)
"""Codes that Istio's analyzers rank below warnings."""

_OPERATIONS = {"REPLACE": "IST0152", "ADD": "IST0153", "REMOVE": "IST0154"}


def of(problem: Problem) -> str:
    """Return the code of a problem that may be about several resources, or an empty text."""
    kind = parse_ref(problem.ref)[0] if problem.ref else ""
    if problem.reason == reasons.NO_EFFECT and kind == "EnvoyFilter":
        return _OPERATIONS.get(problem.text.partition(" ")[0], "")
    if problem.reason == reasons.UNPINNED_AUTHORITY and "portLevelSettings" in problem.path:
        return "IST0129"
    known = reasons.codes(problem.reason)
    wrong_inside = _ANNOTATIONS in problem.path and problem.reason != reasons.NO_EFFECT
    fallback = _INVALID_ANNOTATION if wrong_inside else ""
    return known.get(kind) or known.get("any", fallback)


def of_schema(problem: Problem) -> str:
    """Return the code of a problem of one resource by itself."""
    fallback = SCHEMA_ERROR if problem.severity is Severity.ERROR else SCHEMA_WARNING
    return of(problem) or fallback
