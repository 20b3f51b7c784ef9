"""Rules about destinations: where a route may lead, and with what weights."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.networking.virtual_service import (
    Destination,
    HttpDestination,
    Mirror,
    StreamDestination,
)
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.durations import check_share
from libs.api.validate.headers import check_headers
from libs.api.validate.hosts import check_pattern, is_label
from libs.api.validate.ports import check_port_selector


def check_destination(destination: Destination, path: Path, report: Report) -> None:
    """Report a host, subset or port that cannot be one."""
    if destination.host == "*":
        text = "a destination must be one host, not every host"
        report.error((path, "host"), reasons.INVALID_HOST, text)
    else:
        check_pattern(destination.host, (path, "host"), report)
    if destination.subset:
        check_subset(destination.subset, (path, "subset"), report)
    check_port_selector(destination.port, path, report)


def check_subset(name: str, path: Path, report: Report) -> None:
    """Report a subset's name that is no DNS label."""
    if not is_label(name):
        text = f"{name[:100]!r} is not a subset's name: a DNS label"
        report.error(path, reasons.INVALID_NAME, text)


def check_mirrors(mirrors: Sequence[Mirror], path: Path, report: Report) -> None:
    """Report mirrors that lead nowhere, or with a share that is none."""
    for index, mirror in enumerate(mirrors):
        place = ((path, "mirrors"), index)
        check_destination(mirror.destination, (place, "destination"), report)
        check_share(mirror.percentage, (place, "percentage"), report)


def check_routes(
    routes: Sequence[HttpDestination | StreamDestination], path: Path, report: Report
) -> None:
    """Report destinations, their weights, and the headers that they change."""
    path = (path, "route")
    for index, route in enumerate(routes):
        place = (path, index)
        check_destination(route.destination, (place, "destination"), report)
        if route.weight < 0:
            text = "a weight must not be negative"
            report.error((place, "weight"), reasons.INVALID_WEIGHT, text)
        if isinstance(route, HttpDestination):
            check_headers(route.headers, (place, "headers"), report)
    if len(routes) > 1 and sum(route.weight for route in routes) == 0:
        text = "of several destinations, one at least needs a weight"
        report.error(path, reasons.INVALID_WEIGHT, text)
