"""Rules about the routes of requests in a VirtualService."""

from libs.api import reasons
from libs.api.networking.virtual_service import HttpMatch, HttpRoute
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.answers import (
    check_authority,
    check_direct_response,
    check_redirect,
    check_rewrite,
)
from libs.api.validate.cors import check_cors
from libs.api.validate.destinations import check_destination, check_mirrors, check_routes
from libs.api.validate.durations import check_duration, check_percent, check_share
from libs.api.validate.faults import check_fault
from libs.api.validate.gateways import check_gateways
from libs.api.validate.headers import check_headers, check_match_name, is_claim
from libs.api.validate.hosts import is_label
from libs.api.validate.labels import check_labels
from libs.api.validate.ports import check_match_port
from libs.api.validate.regex import check_match, check_uri
from libs.api.validate.retries import check_retries

PRESENT = "*"
"""As the regular expression of a header, this is no expression, but means that it is there."""


def check_http_route(
    route: HttpRoute, path: Path, report: Report, *, delegate: bool, at_gateway: bool
) -> None:
    """Report what is wrong with one route; `delegate` if its VirtualService has no hosts."""
    _check_action(route, path, report, delegate=delegate)
    for index, match in enumerate(route.match):
        place = ((path, "match"), index)
        _check_conditions(match, place, report)
        _check_headers(match, place, report, at_gateway=at_gateway)
    _check_mirroring(route, path, report)
    check_headers(route.headers, (path, "headers"), report)
    check_cors(route.cors_policy, (path, "corsPolicy"), report)
    check_fault(route.fault, (path, "fault"), report)
    check_redirect(route.redirect, (path, "redirect"), report, matches=route.match)
    check_direct_response(route.direct_response, (path, "directResponse"), report)
    check_retries(route.retries, (path, "retries"), report)
    check_rewrite(route.rewrite, (path, "rewrite"), report)
    check_authority(route, path, report)
    check_routes(route.route, path, report)
    check_duration(route.timeout, (path, "timeout"), report)


def _check_action(route: HttpRoute, path: Path, report: Report, *, delegate: bool) -> None:
    """Report a route with no action, or with several that exclude each other."""
    if route.delegate and delegate:
        text = "a delegate, which is a VirtualService without hosts, cannot delegate further"
        report.error((path, "delegate"), reasons.CONFLICTING_FIELDS, text)
    excluded: tuple[tuple[str, object], ...]
    if route.delegate and not delegate:
        chosen, excluded = "delegate", (("route", route.route), ("redirect", route.redirect))
    elif route.redirect:
        chosen, excluded = "redirect", (*_also(route), ("directResponse", route.direct_response))
    elif route.direct_response:
        chosen, excluded = "directResponse", _also(route)
    else:
        chosen, excluded = "", ()
        if not route.route:
            text = "needs one of route, redirect, directResponse and delegate"
            report.error(path, reasons.MISSING_FIELD, text)
    for field, value in excluded:
        if value:
            text = f"{field} and {chosen} exclude each other"
            report.error((path, field), reasons.CONFLICTING_FIELDS, text)


def _also(route: HttpRoute) -> tuple[tuple[str, object], ...]:
    """What an answer of the proxy's own cannot be combined with."""
    return (
        ("route", route.route),
        ("fault", route.fault is not None),
        ("rewrite", route.rewrite is not None),
    )


def _check_conditions(match: HttpMatch, path: Path, report: Report) -> None:
    check_uri(match.uri, (path, "uri"), report)
    check_match(match.scheme, (path, "scheme"), report)
    check_match(match.method, (path, "method"), report)
    check_match(match.authority, (path, "authority"), report)
    for name, value in match.query_params.items():
        if not name:
            text = "a parameter's name must not be empty"
            report.error((path, "queryParams"), reasons.EMPTY_VALUE, text)
        check_match(value, ((path, "queryParams"), name), report)
    check_match_port(match.port, path, report)
    check_labels(match.source_labels, (path, "sourceLabels"), report)
    check_gateways(match.gateways, path, report)
    if match.source_namespace and not is_label(match.source_namespace):
        text = f"{match.source_namespace[:100]!r} is not the name of a namespace"
        report.error((path, "sourceNamespace"), reasons.INVALID_NAME, text)


def _check_headers(match: HttpMatch, path: Path, report: Report, *, at_gateway: bool) -> None:
    for field, headers in (("headers", match.headers), ("withoutHeaders", match.without_headers)):
        for name, value in headers.items():
            place = ((path, field), name)
            check_match_name(name, place, report)
            if value.regex != PRESENT:
                check_match(value, place, report)
            if is_claim(name) and not at_gateway:
                text = "claims of a token can only be matched at gateways, so name one in gateways"
                report.error(place, reasons.NEEDS_GATEWAY, text)


def _check_mirroring(route: HttpRoute, path: Path, report: Report) -> None:
    if route.mirror and route.mirrors:
        text = "only one of mirror and mirrors may be set"
        report.error((path, "mirrors"), reasons.CONFLICTING_FIELDS, text)
    if route.mirror:
        check_destination(route.mirror, (path, "mirror"), report)
    check_mirrors(route.mirrors, path, report)
    check_share(route.mirror_percentage, (path, "mirrorPercentage"), report)
    if route.mirror_percent is not None:
        place = (path, "mirrorPercent")
        check_percent(route.mirror_percent, place, report)
        text = "mirrorPercent is deprecated: write mirrorPercentage: {value: …}"
        report.warning(place, reasons.DEPRECATED, text)
