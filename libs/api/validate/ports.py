"""Rules about port numbers."""

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.selector import PortSelector

MAX_PORT = 65535


def check_port(number: int, path: Path, report: Report) -> None:
    """Report a number that is no port."""
    if not 1 <= number <= MAX_PORT:
        report.error(path, reasons.INVALID_PORT, f"{number} is not a port: 1 to {MAX_PORT}")


def check_match_port(number: int, path: Path, report: Report) -> None:
    """Report the port of a match; 0 means every port."""
    if number:
        check_port(number, (path, "port"), report)


def check_port_selector(selector: PortSelector | None, path: Path, report: Report) -> None:
    """Report the port that `port: {number: …}` names."""
    if selector is not None:
        check_port(selector.number, ((path, "port"), "number"), report)
