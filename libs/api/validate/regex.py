"""Rules about regular expressions and the matches that may hold one.

A user's expression is only ever compiled by RE2, as Envoy does: Python's own engine would backtrack
for minutes on a dozen characters.
"""

from functools import lru_cache

import re2

from libs.api import reasons
from libs.api.networking.virtual_service import StringMatch
from libs.api.path import Path
from libs.api.report import Report

MAX_BYTES = 1024
"""Envoy limits the size of the compiled program; Istio limits its source, and so do we."""

_REMEMBERED = 1024
"""Expressions of which it is known whether they compile: a megabyte at most."""

_OPTIONS = re2.Options()
_OPTIONS.log_errors = False


def check_regex(pattern: str, path: Path, report: Report) -> None:
    """Report an expression that is empty, too long, or not RE2."""
    if not pattern:
        report.error(path, reasons.INVALID_REGEX, "a regular expression must not be empty")
    elif wrong := wrong_regex(pattern):
        report.error(path, reasons.INVALID_REGEX, wrong)


def wrong_regex(pattern: str) -> str:
    """Return why an expression is too long or not RE2, or an empty text."""
    if len(pattern.encode()) > MAX_BYTES:
        return f"a regular expression must not be longer than {MAX_BYTES} bytes"
    wrong = _wrong(pattern)
    return wrong and f"not a regular expression of RE2: {wrong}"


@lru_cache(maxsize=_REMEMBERED)
def _wrong(pattern: str) -> str:
    """Return what RE2 says against an expression, or an empty text."""
    try:
        re2.compile(pattern, _OPTIONS)
    except re2.error as error:
        return _message(error) or "it does not compile"
    return ""


def check_match(match: StringMatch | None, path: Path, report: Report) -> None:
    """Report a match with more than one kind, an empty prefix or a bad expression."""
    if match is not None and match.prefix == "":
        report.error((path, "prefix"), reasons.EMPTY_VALUE, "a prefix must not be empty")
    check_uri(match, path, report)


def check_uri(match: StringMatch | None, path: Path, report: Report) -> None:
    """Report what `check_match` reports, but for an empty prefix, which a path may have."""
    if match is None:
        return
    if sum(kind is not None for kind in (match.exact, match.prefix, match.regex)) > 1:
        text = "only one of exact, prefix and regex may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if match.regex is not None:
        check_regex(match.regex, (path, "regex"), report)


def _message(error: Exception) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
