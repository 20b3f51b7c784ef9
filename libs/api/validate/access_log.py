"""Rules about access logs in MeshConfig: where they are written, and the formats of their lines.

A file that Envoy cannot open, or a format that it cannot read, makes it refuse every listener. Only
Envoy knows whether a folder is there; what a path cannot be at all is judged here.
"""

import json
from collections.abc import Mapping

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.formats import wrong_format

MAX_PATH = 4095
MAX_NAME = 255
"""In bytes, as Linux has them."""


def check_file(file: str, path: Path, report: Report) -> None:
    """Report what cannot be the path of a file; empty is no file."""
    if file and (wrong := _wrong_file(file)):
        report.error(path, reasons.INVALID_VALUE, wrong)


def check_text(text: str, path: Path, report: Report) -> None:
    """Report what Envoy would not fill in."""
    if wrong := wrong_format(text):
        report.error(path, reasons.INVALID_FORMAT, wrong)


def check_fields(written: str, path: Path, report: Report) -> None:
    """Report what Envoy would not fill in of a mapping in JSON; what is none is not used at all."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return
    waiting = [found] if isinstance(found, dict) else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            check_text(value, path, report)


def _wrong_file(file: str) -> str:
    if not file.startswith("/") or file.rpartition("/")[2] in {"", ".", ".."}:
        return f"{file[:100]!r} is not the absolute path of a file"
    if "\x00" in file:
        return "a path has no zero bytes"
    longest = max(len(name.encode()) for name in file.split("/"))
    if longest > MAX_NAME or len(file.encode()) > MAX_PATH:
        return f"a path has at most {MAX_PATH} bytes, and {MAX_NAME} in each name"
    return ""
