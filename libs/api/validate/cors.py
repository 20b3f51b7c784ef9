"""Rules about cross-origin requests."""

from libs.api import reasons
from libs.api.networking.virtual_service import CorsPolicy
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.durations import check_duration
from libs.api.validate.headers import is_name
from libs.api.validate.regex import check_uri

METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"}
)


def check_cors(cors: CorsPolicy | None, path: Path, report: Report) -> None:
    """Report origins, methods, headers and an age that browsers would not take."""
    if cors is None:
        return
    _check_origins(cors, path, report)
    for index, method in enumerate(cors.allow_methods):
        if method not in METHODS:
            text = f"{method[:100]!r} is not an HTTP method"
            report.error(((path, "allowMethods"), index), reasons.INVALID_METHOD, text)
    for field, names in (
        ("allowHeaders", cors.allow_headers),
        ("exposeHeaders", cors.expose_headers),
    ):
        for index, name in enumerate(names):
            if name != "*" and not is_name(name):
                text = f"{name[:100]!r} is not a header's name"
                report.error(((path, field), index), reasons.INVALID_HEADER, text)
    check_duration(cors.max_age, (path, "maxAge"), report)
    if cors.max_age is not None and cors.max_age % 1000:
        report.error((path, "maxAge"), reasons.INVALID_DURATION, "must be whole seconds")


def _check_origins(cors: CorsPolicy, path: Path, report: Report) -> None:
    if cors.allow_origin:
        text = "allowOrigin is deprecated: write allowOrigins"
        report.warning((path, "allowOrigin"), reasons.DEPRECATED, text)
    for index, origin in enumerate(cors.allow_origins):
        place = ((path, "allowOrigins"), index)
        if not (origin.exact or origin.prefix or origin.regex):
            text = "needs one of exact, prefix and regex, and a text for it"
            report.error(place, reasons.EMPTY_VALUE, text)
        else:
            check_uri(origin, place, report)
