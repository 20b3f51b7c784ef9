"""Rules about routes that no request ever reaches, because an earlier one takes them all.

Only what is certain is reported, and only as a warning. Istio's analyzer calls the first kind
IST0130 and the second IST0131.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from libs.api import reasons
from libs.api.networking.virtual_service import (
    HttpMatch,
    HttpRoute,
    StringMatch,
    TcpRoute,
    TlsRoute,
    VirtualServiceSpec,
)
from libs.api.path import Path
from libs.api.report import Report

MAX_COMPARED = 50_000
"""Comparisons of prefixes with earlier ones; further ones would take too long, and are left out."""

_ENCODER = msgspec.json.Encoder(order="deterministic")
_SPEC: Path = (None, "spec")


def check_reachability(spec: VirtualServiceSpec, report: Report) -> None:
    """Warn of routes, and matches of routes, that are never used."""
    _check_order(spec.http, (_SPEC, "http"), report)
    _check_order(spec.tls, (_SPEC, "tls"), report)
    _check_order(spec.tcp, (_SPEC, "tcp"), report)
    _check_prefixes(spec.http, (_SPEC, "http"), report)


def _check_order(
    routes: Sequence[HttpRoute | TlsRoute | TcpRoute],
    path: Path,
    report: Report,
) -> None:
    """Warn of whatever follows a route that takes everything, and of matches that are repeated."""
    everything: int | None = None
    seen: dict[bytes, int] = {}
    for index, route in enumerate(routes):
        if everything is not None:
            text = f"never used: route {everything} has no match, and so takes everything"
            report.warning((path, index), reasons.UNREACHABLE_RULE, text)
            continue
        if not route.match:
            everything = index
            continue
        repeated = 0
        for at, match in enumerate(route.match):
            conditions = _conditions(match)
            if conditions in seen:
                repeated += 1
                text = f"never used: route {seen[conditions]} has the same match"
                report.warning((((path, index), "match"), at), reasons.INEFFECTIVE_MATCH, text)
            seen.setdefault(conditions, index)
        if repeated == len(route.match):
            text = "never used: earlier routes have all of its matches"
            report.warning((path, index), reasons.UNREACHABLE_RULE, text)


def _conditions(match: Struct) -> bytes:
    """Return equal bytes for matches with equal conditions."""
    named = isinstance(match, HttpMatch) and match.name
    return _ENCODER.encode(replace(match, name="") if named else match)


class _Beside(Struct, frozen=True):
    """The conditions of a match but for its prefix."""

    texts: dict[str, StringMatch]  # what else is compared, all of which must hold
    others: bytes  # conditions that are only compared whole


def _check_prefixes(routes: Sequence[HttpRoute], path: Path, report: Report) -> None:
    """Warn of a prefix that begins with an earlier one, under conditions that are no wider."""
    earlier = _Earlier()
    for index, route in enumerate(routes):
        for at, match in enumerate(route.match):
            if match.uri is None or not match.uri.prefix:
                continue
            if found := earlier.covering(match.uri.prefix, match):
                text = f"never used: the earlier prefix {found[:100]!r} takes its requests"
                place = (((path, index), "match"), at)
                report.warning(place, reasons.INEFFECTIVE_MATCH, text)
            earlier.add(match.uri.prefix, match)


class _Earlier:
    """The prefixes so far, found by the texts that a later one begins with."""

    def __init__(self) -> None:
        self._left = MAX_COMPARED
        self._matches: list[HttpMatch] = []
        self._beside: dict[int, _Beside] = {}
        self._lengths: set[int] = set()
        self._known: dict[str, list[int]] = {}

    def add(self, prefix: str, match: HttpMatch) -> None:
        """Know one more."""
        self._lengths.add(len(prefix))
        self._known.setdefault(prefix, []).append(len(self._matches))
        self._matches.append(match)

    def covering(self, prefix: str, match: HttpMatch) -> str:
        """Return the first prefix that takes all requests of a later match, empty if none does."""
        candidates: list[int] = []
        for length in self._lengths:
            self._left -= 1
            if length < len(prefix):  # equal prefixes are the business of the repeated matches
                candidates += self._known.get(prefix[:length], ())
        self._left -= len(candidates)
        if not candidates or self._left < 0:
            return ""
        later = _conditions_beside_prefix(match)
        for number in sorted(candidates):
            if _covers(self._of(number), later):
                uri = self._matches[number].uri
                return uri.prefix if uri and uri.prefix else ""
        return ""

    def _of(self, number: int) -> "_Beside":
        """Return the conditions of an earlier match; most are never asked for."""
        if number not in self._beside:
            self._beside[number] = _conditions_beside_prefix(self._matches[number])
        return self._beside[number]


def _conditions_beside_prefix(match: HttpMatch) -> _Beside:
    named = {"method": match.method, "authority": match.authority, "scheme": match.scheme}
    texts = {name: text for name, text in named.items() if text is not None}
    texts |= {f"header {name}": text for name, text in match.headers.items()}
    texts |= {f"query {name}": text for name, text in match.query_params.items()}
    rest = replace(match, name="", stat_prefix="", uri=None, method=None, authority=None)
    rest = replace(rest, scheme=None, headers={}, query_params={})
    return _Beside(texts, _ENCODER.encode(rest))


def _covers(earlier: _Beside, later: _Beside) -> bool:
    """Tell whether every request of `later`, with a longer prefix, also matches `earlier`."""
    if earlier.others != later.others:
        return False
    return all(
        name in later.texts and _implies(later.texts[name], text)
        for name, text in earlier.texts.items()
    )


def _implies(narrow: StringMatch, wide: StringMatch) -> bool:
    if wide.prefix is not None:
        return (narrow.exact or narrow.prefix or "").startswith(wide.prefix)
    return narrow == wide or (wide.exact, wide.regex) == (None, None)
