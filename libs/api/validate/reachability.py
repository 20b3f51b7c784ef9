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
    return _ENCODER.encode(replace(match, name="") if isinstance(match, HttpMatch) else match)


class _Prefix(Struct, frozen=True):
    place: Path
    prefix: str
    texts: dict[str, StringMatch]  # what else is compared, all of which must hold
    others: bytes  # conditions that are only compared whole


def _check_prefixes(routes: Sequence[HttpRoute], path: Path, report: Report) -> None:
    """Warn of a prefix that begins with an earlier one, under conditions that are no wider."""
    earlier = _Earlier()
    for index, route in enumerate(routes):
        for at, match in enumerate(route.match):
            if match.uri is None or not match.uri.prefix:
                continue
            later = _prefix(match, (((path, index), "match"), at))
            if found := earlier.covering(later):
                text = f"never used: the earlier prefix {found.prefix[:100]!r} takes its requests"
                report.warning(later.place, reasons.INEFFECTIVE_MATCH, text)
            earlier.add(later)


class _Earlier:
    """The prefixes so far, found by the texts that a later one begins with."""

    def __init__(self) -> None:
        self._left = MAX_COMPARED
        self._number = 0
        self._lengths: set[int] = set()
        self._known: dict[str, list[tuple[int, _Prefix]]] = {}

    def add(self, prefix: _Prefix) -> None:
        """Know one more."""
        self._number += 1
        self._lengths.add(len(prefix.prefix))
        self._known.setdefault(prefix.prefix, []).append((self._number, prefix))

    def covering(self, later: _Prefix) -> _Prefix | None:
        """Return the first that takes all requests of `later`, if it can be told."""
        found: list[tuple[int, _Prefix]] = []
        for length in self._lengths:
            if length >= len(later.prefix):
                continue  # equal prefixes are the business of the repeated matches
            candidates = self._known.get(later.prefix[:length], ())
            self._left -= 1 + len(candidates)
            if self._left < 0:
                return None
            found += [it for it in candidates if _covers(it[1], later)][:1]
        return min(found, key=lambda it: it[0])[1] if found else None


def _prefix(match: HttpMatch, place: Path) -> _Prefix:
    named = {"method": match.method, "authority": match.authority, "scheme": match.scheme}
    texts = {name: text for name, text in named.items() if text is not None}
    texts |= {f"header {name}": text for name, text in match.headers.items()}
    texts |= {f"query {name}": text for name, text in match.query_params.items()}
    rest = replace(match, name="", stat_prefix="", uri=None, method=None, authority=None)
    rest = replace(rest, scheme=None, headers={}, query_params={})
    prefix = match.uri.prefix if match.uri else None
    return _Prefix(place, prefix or "", texts, _ENCODER.encode(rest))


def _covers(earlier: _Prefix, later: _Prefix) -> bool:
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
