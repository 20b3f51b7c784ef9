"""Rules about the faults that a route makes."""

from libs.api import reasons
from libs.api.networking.virtual_service import Abort, Delay, Fault
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.durations import check_duration, check_fault_share
from libs.model.grpc import STATUSES


def check_fault(fault: Fault | None, path: Path, report: Report) -> None:
    """Report faults that Envoy cannot make."""
    if fault is None:
        return
    if fault.abort is None and fault.delay is None:
        report.error(path, reasons.MISSING_FIELD, "a fault needs a delay or an abort")
    if fault.abort:
        _check_abort(fault.abort, (path, "abort"), report)
    if fault.delay:
        _check_delay(fault.delay, (path, "delay"), report)


def check_status(status: int, path: Path, report: Report) -> None:
    """Report an HTTP status that Envoy does not answer with."""
    if not 200 <= status <= 599:
        report.error(path, reasons.INVALID_STATUS, f"{status} is not an HTTP status: 200 to 599")


def _check_abort(abort: Abort, path: Path, report: Report) -> None:
    check_fault_share(abort.percentage, (path, "percentage"), report)
    statuses = (abort.http_status, abort.grpc_status, abort.http2_error)
    if sum(status is not None for status in statuses) > 1:
        text = "only one of httpStatus, grpcStatus and http2Error may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if abort.http_status is not None:
        check_status(abort.http_status, (path, "httpStatus"), report)
    elif abort.grpc_status is not None:
        if abort.grpc_status not in STATUSES:
            text = f"{abort.grpc_status[:100]!r} is not a gRPC status such as UNAVAILABLE"
            report.error((path, "grpcStatus"), reasons.INVALID_STATUS, text)
    elif abort.http2_error is not None:
        text = "Istio has this field, but never does anything with it"
        report.error((path, "http2Error"), reasons.UNSUPPORTED_FIELD, text)
    else:
        report.warning(path, reasons.NO_EFFECT, "without a status there is no abort")


def _check_delay(delay: Delay, path: Path, report: Report) -> None:
    check_fault_share(delay.percentage, (path, "percentage"), report)
    if delay.percent:
        text = "percent is deprecated: write percentage: {value: …}"
        report.warning((path, "percent"), reasons.DEPRECATED, text)
    if delay.fixed_delay is not None and delay.exponential_delay is not None:
        text = "only one of fixedDelay and exponentialDelay may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    check_duration(delay.fixed_delay, (path, "fixedDelay"), report)
    if delay.exponential_delay is not None:
        text = "Istio has this field, but never does anything with it"
        report.error((path, "exponentialDelay"), reasons.UNSUPPORTED_FIELD, text)
