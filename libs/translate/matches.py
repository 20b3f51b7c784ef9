"""Matches: the conditions of a VirtualService's rules."""

from collections.abc import Mapping

from libs.api.networking import virtual_service as api
from libs.model.traffic import HttpMatch, MatchKind, NamedMatch, StreamMatch, StringMatch
from libs.translate.names import Names

_ANYTHING = "*"
"""As the regular expression of a header, this means that the header is there."""


def http(match: api.HttpMatch, names: Names) -> HttpMatch:
    """Return the conditions of one match of an HTTP rule."""
    return HttpMatch(
        name=match.name,
        uri=_text(match.uri),
        ignore_uri_case=match.ignore_uri_case,
        scheme=_text(match.scheme),
        method=_text(match.method),
        authority=_text(match.authority),
        headers=_named(match.headers),
        without_headers=_named(match.without_headers),
        query_params=_named(match.query_params),
        port=match.port,
        source_labels=match.source_labels,
        source_namespace=match.source_namespace,
        gateways=names.gateways(match.gateways),
        stat_prefix=match.stat_prefix,
    )


def stream(match: api.TlsMatch | api.TcpMatch, names: Names) -> StreamMatch:
    """Return the conditions of one match of a TLS or TCP rule."""
    return StreamMatch(
        sni_hosts=match.sni_hosts if isinstance(match, api.TlsMatch) else (),
        destination_subnets=match.destination_subnets,
        port=match.port,
        source_labels=match.source_labels,
        source_namespace=match.source_namespace,
        gateways=names.gateways(match.gateways),
    )


def text(match: api.StringMatch) -> StringMatch:
    """Return the comparison of one text; with nothing to compare, presence is enough."""
    if match.exact is not None:
        return StringMatch(MatchKind.EXACT, match.exact)
    if match.prefix is not None:
        return StringMatch(MatchKind.PREFIX, match.prefix)
    if match.regex is not None and match.regex != _ANYTHING:
        return StringMatch(MatchKind.REGEX, match.regex)
    return StringMatch(MatchKind.PRESENT)


def _text(match: api.StringMatch | None) -> StringMatch | None:
    """A part that every request has needs no condition to be present."""
    found = text(match) if match else None
    return None if found is None or found.kind is MatchKind.PRESENT else found


def _named(written: Mapping[str, api.StringMatch]) -> tuple[NamedMatch, ...]:
    return tuple(NamedMatch(name, text(written[name])) for name in sorted(written))
