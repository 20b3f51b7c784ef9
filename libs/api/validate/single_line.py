"""Rules about texts that Envoy keeps on one line: paths, authorities, names and values of headers.

Envoy refuses a whole resource for one such text with a line break or a zero byte in it, and with it
what others have in the same resource. Which characters a header's name may have beyond that is
not decided here but in `libs.api.validate.headers`.
"""

import re

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report

_BREAKS = re.compile(r"[\r\n\x00]")


def is_line(text: str) -> bool:
    """Tell whether a text has neither line breaks nor zero bytes."""
    return _BREAKS.search(text) is None


def check_line(
    text: str, path: Path, report: Report, *, reason: str = reasons.INVALID_VALUE
) -> None:
    """Report a text that has line breaks or zero bytes."""
    if not is_line(text):
        report.error(path, reason, "must not have line breaks or zero bytes")
