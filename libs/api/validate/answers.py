"""Rules about what a route answers itself, or changes before the request goes on."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.networking.virtual_service import (
    DirectResponse,
    HttpMatch,
    HttpRoute,
    Redirect,
    Rewrite,
)
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.faults import check_status
from libs.api.validate.headers import is_authority
from libs.api.validate.ports import check_port
from libs.api.validate.regex import check_regex
from libs.api.validate.single_line import check_line

MAX_BODY = 1024 * 1024
LARGE_BODY = 100 * 1024
ENVOY_REDIRECTS = frozenset({0, 301, 302, 303, 307, 308})


def check_redirect(
    redirect: Redirect | None, path: Path, report: Report, *, matches: Sequence[HttpMatch]
) -> None:
    """Report redirects that lead nowhere, or contradict themselves."""
    if redirect is None:
        return
    if redirect.uri and redirect.prefix_rewrite:
        text = "only one of uri and prefixRewrite may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if redirect.prefix_rewrite and any(match.uri and match.uri.prefix is None for match in matches):
        text = "needs a prefix in every uri of the match"
        report.error((path, "prefixRewrite"), reasons.CONFLICTING_FIELDS, text)
    _check_target(redirect, path, report)
    code = redirect.redirect_code
    if code and not 300 <= code <= 399:
        report.error((path, "redirectCode"), reasons.INVALID_STATUS, f"{code} is not a redirect")
    elif code not in ENVOY_REDIRECTS:
        text = f"{code} is none of 301, 302, 303, 307 and 308, so the route does nothing"
        report.warning((path, "redirectCode"), reasons.NO_EFFECT, text)


def _check_target(redirect: Redirect, path: Path, report: Report) -> None:
    if redirect.port is not None and redirect.derive_port is not None:
        text = "only one of port and derivePort may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    has_port = redirect.port is not None or redirect.derive_port is not None
    if not (
        redirect.uri or redirect.prefix_rewrite or redirect.authority or redirect.scheme or has_port
    ):
        text = "needs one of uri, prefixRewrite, authority, scheme and port"
        report.error(path, reasons.MISSING_FIELD, text)
    if redirect.scheme not in {"", "http", "https"}:
        text = "must be http or https"
        report.error((path, "scheme"), reasons.INVALID_CHOICE, text)
    for field, text in (
        ("uri", redirect.uri),
        ("prefixRewrite", redirect.prefix_rewrite),
        ("authority", redirect.authority),
    ):
        check_line(text, (path, field), report)
    if redirect.port:
        check_port(redirect.port, (path, "port"), report)


def check_direct_response(response: DirectResponse | None, path: Path, report: Report) -> None:
    """Report a status or body that Envoy does not answer with."""
    if response is None:
        return
    check_status(response.status, (path, "status"), report)
    if response.body is None:
        return
    if response.body.string is not None and response.body.bytes_ is not None:
        text = "only one of string and bytes may be set"
        report.error((path, "body"), reasons.CONFLICTING_FIELDS, text)
    size = len(response.body.bytes_ or (response.body.string or "").encode())
    if size > MAX_BODY:
        report.error((path, "body"), reasons.TOO_LARGE, f"must not be larger than {MAX_BODY} bytes")
    elif size > LARGE_BODY:
        text = f"{size} bytes are sent to every proxy at every change"
        report.warning((path, "body"), reasons.LARGE_BODY, text)


def check_rewrite(rewrite: Rewrite | None, path: Path, report: Report) -> None:
    """Report rewrites that do nothing, or contradict themselves."""
    if rewrite is None:
        return
    regex = rewrite.uri_regex_rewrite
    if rewrite.uri and regex:
        text = "only one of uri and uriRegexRewrite may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if not (rewrite.uri or regex or rewrite.authority):
        text = "needs one of uri, uriRegexRewrite and authority"
        report.error(path, reasons.MISSING_FIELD, text)
    check_line(rewrite.uri, (path, "uri"), report)
    check_line(rewrite.authority, (path, "authority"), report)
    if regex is None:
        return
    path = (path, "uriRegexRewrite")
    check_line(regex.rewrite, (path, "rewrite"), report)
    if not regex.match or not regex.rewrite:
        report.error(path, reasons.MISSING_FIELD, "needs both match and rewrite")
    else:
        check_regex(regex.match, (path, "match"), report)


def check_authority(route: HttpRoute, path: Path, report: Report) -> None:
    """Report a route, at `path`, that sets the authority at more than one place."""
    rewrite, headers = route.rewrite, route.headers
    places: list[Path] = [((path, "rewrite"), "authority")] if rewrite and rewrite.authority else []
    changes = headers.request if headers else None
    if changes:
        where = ((path, "headers"), "request")
        for field, names in (("set", changes.set), ("add", changes.add)):
            places += [((where, field), name) for name in names if is_authority(name)]
    for place in places[1:]:
        text = "the authority is already set at another place of this route"
        report.error(place, reasons.CONFLICTING_FIELDS, text)
