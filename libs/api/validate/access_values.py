"""Rules about single values in an AuthorizationPolicy.

Each `wrong_…` returns what is wrong with one value, or an empty text. Where nothing else is said, a
value is a text, a prefix `x*`, a suffix `*x`, or `*` for anything that is there.
"""

import re
from collections.abc import Callable, Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.ports import MAX_PORT
from libs.api.validate.stream_routes import is_block

Wrong = Callable[[str], str]

ONE_SEGMENT = "{*}"
REST = "{**}"
_LITERAL = re.compile(r"[a-zA-Z0-9\-._~%!$&'()+,;:@=]+")


def check_values(values: Sequence[str], path: Path, report: Report, *, wrong: Wrong) -> None:
    """Report the values that are wrong."""
    for index, value in enumerate(values):
        text = wrong(value) if value else "must not be empty"
        if text:
            reason = reasons.INVALID_VALUE if value else reasons.EMPTY_VALUE
            report.error((path, index), reason, text)


def wrong_text(_: str) -> str:
    """Every text is right."""
    return ""


def wrong_block(value: str) -> str:
    """An address, or a block of addresses."""
    if is_block(value):
        return ""
    return f"{value[:100]!r} is neither an IP address nor a block such as 10.0.0.0/8"


def wrong_port(value: str) -> str:
    """A port's number, as a text; 0 is accepted, though nothing listens there."""
    if value.isascii() and value.isdigit() and len(value) <= 10 and int(value) <= MAX_PORT:
        return ""
    return f"{value[:100]!r} is not a port: 1 to {MAX_PORT}"


def wrong_account(value: str) -> str:
    """A service account, `name` or `namespace/name`."""
    parts = value.split("/")
    if "*" in value:
        return "a service account has no wildcards; use principals for those"
    if len(parts) > 2 or "" in parts:
        return f"{value[:100]!r} is not of the form name or namespace/name"
    return ""


def wrong_trust_domain(value: str) -> str:
    """A trust domain with at most one wildcard, at an end."""
    if "/" in value:
        return "a trust domain has no slash"
    return wrong_wildcard(value)


def wrong_wildcard(value: str) -> str:
    """A text with at most one wildcard, at an end."""
    if "*" in value.removesuffix("*").removeprefix("*" if not value.endswith("*") else ""):
        return f"{value[:100]!r}: '*' may only stand once, at the beginning or the end"
    return ""


def wrong_path(value: str) -> str:
    """A path, perhaps with `{*}` for one segment and `{**}` for the rest."""
    is_template = ONE_SEGMENT in value or REST in value
    rest_seen = False
    for segment in value.strip("/").split("/"):
        if segment in {ONE_SEGMENT, REST}:
            if rest_seen:
                return "nothing but fixed segments may follow {**}"
            rest_seen = segment == REST
        elif "{" in segment or "}" in segment:
            return f"{value[:100]!r}: braces may only be {{*}} or {{**}}, each a whole segment"
        elif is_template and not _LITERAL.fullmatch(segment):
            return f"{segment[:100]!r} is not a segment of a path that Envoy's templates know"
    return ""
