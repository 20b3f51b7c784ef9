"""Rules about HTTP headers: their names in matches, and the changes that a route makes to them."""

import re

from libs.api import reasons
from libs.api.networking.virtual_service import HeaderChanges, Headers
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.formats import wrong_format
from libs.api.validate.single_line import is_line

CLAIM_PREFIX = "@request.auth.claims"
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~A-Za-z0-9]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_PSEUDO = frozenset({":method", ":scheme", ":authority", ":path", ":status"})


def is_name(name: str) -> bool:
    """Tell whether `name` is made of the characters of a header's name."""
    return _NAME.fullmatch(name) is not None


def is_claim(name: str) -> bool:
    """Tell whether `name` stands for a claim of a token: `@request.auth.claims.a.b` or `[a][b]`."""
    if not name.lower().startswith(CLAIM_PREFIX):
        return False
    rest = name[len(CLAIM_PREFIX) :]
    dotted = rest.startswith(".") and len(rest) > 1
    return dotted or (rest.startswith("[") and rest.endswith("]") and len(rest) > 2)


def is_authority(name: str) -> bool:
    """Tell whether a change of the header `name` changes the authority."""
    return name.lower() in {":authority", "host"}


def check_match_name(name: str, path: Path, report: Report) -> None:
    """Report what cannot be the name of a header in a match."""
    if not (name in _PSEUDO or is_claim(name) or is_name(name)):
        report.error(path, reasons.INVALID_HEADER, f"{name[:100]!r} is not a header's name")


def check_headers(headers: Headers | None, path: Path, report: Report) -> None:
    """Report changes that Envoy cannot make."""
    if headers is None:
        return
    if headers.request:
        _check_changes(headers.request, (path, "request"), report, authority=True)
    if headers.response:
        _check_changes(headers.response, (path, "response"), report, authority=False)


def _check_changes(changes: HeaderChanges, path: Path, report: Report, *, authority: bool) -> None:
    for field, values in (("set", changes.set), ("add", changes.add)):
        for name, value in values.items():
            place = ((path, field), name)
            _check_name(name, place, report, authority=authority)
            if not _VALUE.fullmatch(value):
                text = "a header's value has no control characters"
                report.error(place, reasons.INVALID_HEADER, text)
            elif wrong := wrong_format(value):
                report.error(place, reasons.INVALID_HEADER, wrong)
    for index, name in enumerate(changes.remove):
        _check_name(name, ((path, "remove"), index), report, authority=False)


def _check_name(name: str, path: Path, report: Report, *, authority: bool) -> None:
    if not name:
        report.error(path, reasons.INVALID_HEADER, "a header's name must not be empty")
    elif not is_line(name):
        text = "a header's name has no line breaks or zero bytes"
        report.error(path, reasons.INVALID_HEADER, text)
    elif (name.startswith(":") or name.lower() == "host") and not (
        authority and is_authority(name)
    ):
        report.error(path, reasons.INVALID_HEADER, f"the header {name[:100]!r} cannot be changed")
