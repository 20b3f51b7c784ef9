"""Rules about retries, of a route and of the whole mesh."""

from http import HTTPStatus

from libs.api import reasons
from libs.api.networking.virtual_service import Retry
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.durations import check_duration

CONDITIONS = frozenset(
    {
        # Envoy's x-envoy-retry-on
        "5xx",
        "connect-failure",
        "envoy-ratelimited",
        "gateway-error",
        "http3-post-connect-failure",
        "refused-stream",
        "reset",
        "reset-before-request",
        "retriable-4xx",
        "retriable-headers",
        "retriable-status-codes",
        # Envoy's x-envoy-retry-grpc-on
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    }
)
_STATUSES = frozenset(str(int(status)) for status in HTTPStatus) | {"418"}


def check_retries(retries: Retry | None, path: Path, report: Report) -> None:
    """Report retries that contradict themselves, or on conditions that there are none."""
    if retries is None:
        return
    if retries.attempts < 0:
        report.error((path, "attempts"), reasons.OUT_OF_RANGE, "must not be negative")
    if retries.attempts == 0 and _says_how(retries):
        text = "attempts 0 switches retries off, so nothing else may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    check_duration(retries.per_try_timeout, (path, "perTryTimeout"), report)
    check_duration(retries.backoff, (path, "backoff"), report)
    for condition in retries.retry_on.split(",") if retries.retry_on else ():
        if condition not in CONDITIONS and condition.lstrip("+") not in _STATUSES:
            text = f"{condition[:100]!r} is neither a condition nor an HTTP status"
            report.error((path, "retryOn"), reasons.INVALID_RETRY_ON, text)


def _says_how(retries: Retry) -> bool:
    return (
        retries.per_try_timeout is not None
        or retries.retry_on != ""
        or retries.retry_remote_localities is not None
    )
