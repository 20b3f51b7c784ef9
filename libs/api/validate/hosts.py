"""Rules about host names: what a resource may call a host, and which hosts overlap.

Upper case is accepted, as Istio accepts it. `*` may stand for the first label, or before it.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report

MAX_HOST = 255
MAX_LABEL = 63
_REMEMBERED = 2048
_LABEL = re.compile(r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_FIRST_LABEL = re.compile(r"\*|(?:\*-?)?[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?")
_NUMBER = re.compile(r"[-+]?[0-9]+")


def is_label(text: str) -> bool:
    """Tell whether `text` is one label of a DNS name."""
    return len(text) <= MAX_LABEL and _LABEL.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Tell whether `text` is an IP address."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def wrong_name(host: str) -> str:
    """Return what is wrong with a full or short name without wildcard, or an empty text."""
    return _wrong_length(host) or _wrong_labels(host, host.split("."))


def wrong_pattern(host: str) -> str:
    """Return what is wrong with a name that may begin with a wildcard, or an empty text."""
    return _wrong_length(host) or _wrong_pattern(host)


@lru_cache(maxsize=_REMEMBERED)
def _wrong_pattern(host: str) -> str:
    first, *rest = host.split(".")
    if len(first) > MAX_LABEL or not _FIRST_LABEL.fullmatch(first):
        return f"{host[:100]!r} is not a host name: {first[:100]!r} is not a DNS label"
    return _wrong_labels(host, rest) if rest else ""


def check_pattern(host: str, path: Path, report: Report) -> bool:
    """Report a host that is neither a name nor a wildcard; return whether it is right."""
    wrong = wrong_pattern(host)
    if wrong:
        report.error(path, reasons.INVALID_HOST, wrong)
    return not wrong


class Cover:
    """A set of host patterns, to ask whether one of them covers a host."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._exact: set[str] = set()
        self._suffixes: dict[int, set[str]] = {}
        for host in hosts:
            self.add(host)

    def add(self, host: str) -> None:
        """Add a pattern."""
        if host.startswith("*"):
            self._suffixes.setdefault(len(host) - 1, set()).add(host[1:])
        else:
            self._exact.add(host)

    def covers(self, host: str) -> bool:
        """Tell whether some pattern stands for all that `host` stands for."""
        name = host.removeprefix("*")
        if name == host and host in self._exact:
            return True
        return any(
            length <= len(name) and name[len(name) - length :] in suffixes
            for length, suffixes in self._suffixes.items()
        )


def overlapping(hosts: Iterable[str]) -> list[int]:
    """Return the indexes of hosts that another host of the list covers, or repeats."""
    numbered = list(enumerate(hosts))
    # Wildcards first, the shorter before the longer: a pattern is only covered by earlier ones.
    numbered.sort(key=lambda item: (not item[1].startswith("*"), len(item[1]), item[0]))
    seen = Cover()
    found: list[int] = []
    for index, host in numbered:
        if seen.covers(host):
            found.append(index)
        seen.add(host)
    return sorted(found)


def _wrong_length(host: str) -> str:
    if not host:
        return "a host must not be empty"
    return f"{host[:100]!r} is longer than {MAX_HOST} characters" if len(host) > MAX_HOST else ""


def _wrong_labels(host: str, labels: list[str]) -> str:
    if _NUMBER.fullmatch(labels[-1]):
        return f"{host!r} is not a host name: its last label must not be a number"
    if labels[-1] == "":  # a trailing dot makes a name absolute
        labels = labels[:-1]
    wrong = next((label for label in labels if not is_label(label)), None)
    return "" if wrong is None else f"{host!r} is not a host name: {wrong!r} is not a DNS label"
