"""Rules about the texts of extension providers that become parts of Envoy's listeners."""

from collections.abc import Mapping, Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.provider_kinds import LogFormat, TracingHeader
from libs.api.report import Report
from libs.api.scalars import Duration
from libs.api.validate.access_log import check_text
from libs.api.validate.durations import check_duration
from libs.api.validate.formats import wrong_format
from libs.api.validate.headers import is_authority, is_name
from libs.api.validate.single_line import is_line

LONGEST_CALL = 2**32 * 1000 - 1
"""Of a call over HTTP that Envoy makes by itself, in milliseconds."""


def check_call(timeout: Duration | None, path: Path, report: Report) -> None:
    """Report the timeout of calls over HTTP that Envoy cannot be told."""
    check_duration(timeout, path, report)
    if timeout is not None and timeout > LONGEST_CALL:
        report.error(path, reasons.INVALID_DURATION, "must be shorter than 136 years")


def check_collector_headers(headers: Sequence[TracingHeader], path: Path, report: Report) -> None:
    """Report headers that cannot be sent to a collector, whose values are formats."""
    for index, header in enumerate(headers):
        check_header(header.name, header.value, (path, index), report=report)
        if header.env_name:
            text = "is not read: the control plane keeps its environment to itself"
            report.warning(((path, index), "envName"), reasons.UNSUPPORTED_FIELD, text)


def check_header(name: str, value: str, path: Path, *, report: Report) -> None:
    """Report a header that Envoy would not add; `path` is the header's, with name and value."""
    if not is_name(name):
        text = f"{name[:100]!r} is not a header's name"
        report.error((path, "name"), reasons.INVALID_HEADER, text)
    if not is_line(value):
        text = "must not have line breaks or zero bytes"
        report.error((path, "value"), reasons.INVALID_HEADER, text)
    elif wrong := wrong_format(value):
        report.error((path, "value"), reasons.INVALID_HEADER, wrong)


def check_added(headers: Mapping[str, str], path: Path, report: Report) -> None:
    """Report headers, by name, that Envoy would not add to what it asks an authorizer."""
    for name, value in headers.items():
        check_header(name, value, (path, name), report=report)
        if is_authority(name):
            text = f"the header {name[:100]!r} cannot be changed"
            report.error((path, name), reasons.INVALID_HEADER, text)


def check_log_format(layout: LogFormat | None, path: Path, report: Report) -> None:
    """Report texts that Envoy would not fill in."""
    if layout is None:
        return
    check_text(layout.text, (path, "text"), report)
    for name, text in layout.labels.items():
        check_text(text, ((path, "labels"), name), report)
