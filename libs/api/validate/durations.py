"""Rules about durations and shares."""

from libs.api import reasons
from libs.api.networking.virtual_service import Percent
from libs.api.path import Path
from libs.api.report import Report
from libs.api.scalars import Duration

SMALLEST_SHARE = 0.0001
"""In percent; Envoy counts in millionths."""


def check_duration(duration: Duration | None, path: Path, report: Report) -> None:
    """Report a duration that is shorter than a millisecond."""
    if duration is not None and duration < 1:
        report.error(path, reasons.INVALID_DURATION, "must be at least 1ms")


def check_idle_timeout(duration: Duration | None, path: Path, report: Report) -> None:
    """Report a negative duration; 0 switches the timeout off."""
    if duration is not None and duration < 0:
        report.error(path, reasons.INVALID_DURATION, "must not be negative")


def check_percent(percent: int, path: Path, report: Report) -> None:
    """Report a number that is no percentage."""
    if not 0 <= percent <= 100:
        report.error(path, reasons.OUT_OF_RANGE, f"{percent} is not a percentage: 0 to 100")


def check_share(percent: Percent | None, path: Path, report: Report) -> None:
    """Report a share that is no percentage."""
    if percent is not None and not 0 <= percent.value <= 100:
        text = f"{percent.value} is not a percentage: 0 to 100"
        report.error((path, "value"), reasons.OUT_OF_RANGE, text)


def check_fault_share(percent: Percent | None, path: Path, report: Report) -> None:
    """Report a share that is no percentage, or too small for Envoy to count."""
    check_share(percent, path, report)
    if percent is not None and 0 < percent.value < SMALLEST_SHARE:
        text = f"must be 0, or at least {SMALLEST_SHARE}"
        report.error((path, "value"), reasons.OUT_OF_RANGE, text)
