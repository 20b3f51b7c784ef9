"""Rules about what a listener is bound to: an address, or a unix socket `unix://…`."""

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_address

UNIX = "unix://"


def wrong_socket(address: str) -> str:
    """Return what is wrong with `unix://` and a path, or an empty text."""
    name = address.removeprefix(UNIX)
    if name.startswith("@"):  # Linux has sockets with names that are no files
        return ""
    if not name.startswith("/") or name.endswith("/"):
        return f"{address[:100]!r} is not unix:// and the absolute path of a file"
    return ""


def check_bind(bind: str, path: Path, report: Report) -> None:
    """Report what is neither an address nor a socket; empty is any address."""
    if bind.startswith(UNIX):
        if wrong := wrong_socket(bind):
            report.error(path, reasons.INVALID_ADDRESS, wrong)
    elif bind and not is_address(bind):
        text = f"{bind[:100]!r} is neither an IP address nor unix:// and a path"
        report.error(path, reasons.INVALID_ADDRESS, text)
