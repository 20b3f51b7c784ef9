"""Rules about labels: keys and values as Kubernetes writes them, and selectors made of them."""

import re
from collections.abc import Mapping

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.selector import WorkloadLabels, WorkloadSelector

MAX_PREFIX = 253
MAX_NAME = 63
MAX_SELECTOR_VALUE = 63
_DNS = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?"
_PREFIX = re.compile(rf"{_DNS}(?:\.{_DNS})*")
_NAME = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")


def check_labels(labels: Mapping[str, str], path: Path, report: Report) -> None:
    """Report keys and values that no Kubernetes object can carry."""
    for key, value in labels.items():
        if not is_key(key):
            report.error((path, key), reasons.INVALID_LABEL, f"{key[:100]!r} is not a label's key")
        if value and not _NAME.fullmatch(value):
            text = f"{value[:100]!r} is not a label's value"
            report.error((path, key), reasons.INVALID_LABEL, text)


def is_key(key: str) -> bool:
    """Tell whether `key` is `name` or `dns.prefix/name`."""
    prefix, slash, name = key.rpartition("/")
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        return False
    return not slash or (len(prefix) <= MAX_PREFIX and _PREFIX.fullmatch(prefix) is not None)


def check_selector(selector: WorkloadSelector | None, path: Path, report: Report) -> None:
    """Report wildcards and empty keys in a selector; warn of one that selects by nothing."""
    if selector is not None:
        _check_selection(selector.match_labels, (path, "matchLabels"), report)


def check_workload_labels(selector: WorkloadLabels | None, path: Path, report: Report) -> None:
    """Report what `check_selector` reports, of a selector in the older form."""
    if selector is not None:
        _check_selection(selector.labels, (path, "labels"), report)


def _check_selection(labels: Mapping[str, str], path: Path, report: Report) -> None:
    if not labels:
        text = "selects by no label, and so every workload of the namespace"
        report.warning(path, reasons.EMPTY_SELECTOR, text)
    for key, value in labels.items():
        if not key or "*" in key or "*" in value:
            text = "a selector has no empty keys and no wildcards"
            report.error((path, key), reasons.INVALID_LABEL, text)
        elif len(value) > MAX_SELECTOR_VALUE:
            text = f"must not be longer than {MAX_SELECTOR_VALUE}"
            report.error((path, key), reasons.OUT_OF_RANGE, text)
