"""Route matches: the conditions of a routing rule on a request, in Envoy's words."""

from collections.abc import Sequence

from envoy.config.route.v3.route_components_pb2 import (
    HeaderMatcher,
    QueryParameterMatcher,
    RouteMatch,
)
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from libs.model.traffic import HttpMatch, MatchKind, NamedMatch, StringMatch
from libs.xds.generate.filters import matchers

_CLAIMS = "@request.auth.claims"  # of a token that was checked here: in a sidecar, of none
_TOKENS = "envoy.filters.http.jwt_authn"


def everything() -> RouteMatch:
    """Return the match of every request."""
    return RouteMatch(prefix="/")


def translate(match: HttpMatch | None) -> RouteMatch:
    """Return Envoy's form of `match`; None matches everything.

    Headers are ordered by name, then the method, the authority and the scheme.
    """
    if match is None:
        return everything()
    found = RouteMatch()
    _path(found, match.uri)
    found.case_sensitive.value = not match.ignore_uri_case
    found.headers.extend(sorted(_headers(match), key=lambda header: header.name))
    found.dynamic_metadata.extend(_claims(match))
    pseudo = ((":method", match.method), (":authority", match.authority), (":scheme", match.scheme))
    for name, condition in pseudo:
        if condition is not None:
            found.headers.append(_header(NamedMatch(name, condition)))
    found.query_parameters.extend(_query_parameters(match.query_params))
    return found


def catches_all(match: RouteMatch) -> bool:
    """Tell whether no request can get past a route with this match."""
    kind = match.WhichOneof("path_specifier")
    anywhere = (kind == "prefix" and match.prefix == "/") or (
        kind == "safe_regex" and match.safe_regex.regex == ".*"
    )
    return anywhere and not (match.headers or match.query_parameters or match.dynamic_metadata)


def text(match: StringMatch) -> StringMatcher | None:
    """Return Envoy's comparison of one text, or None if the text only has to be there."""
    match match.kind:
        case MatchKind.EXACT:
            return StringMatcher(exact=match.value)
        case MatchKind.PREFIX:
            return StringMatcher(prefix=match.value)
        case MatchKind.SUFFIX:
            return StringMatcher(suffix=match.value)
        case MatchKind.REGEX if match.value != "*":  # `*` alone is no expression but "present"
            return StringMatcher(safe_regex=RegexMatcher(regex=match.value))
    return None


def _path(found: RouteMatch, uri: StringMatch | None) -> None:
    if uri is None:
        found.prefix = "/"
    elif uri.kind is MatchKind.EXACT:
        found.path = uri.value
    elif uri.kind is MatchKind.SEGMENTS:
        found.path_separated_prefix = uri.value
    elif uri.kind is MatchKind.REGEX:
        found.safe_regex.regex = uri.value
    else:
        found.prefix = uri.value if uri.kind is MatchKind.PREFIX else "/"


def _headers(match: HttpMatch) -> list[HeaderMatcher]:
    wanted = [_header(one) for one in match.headers if not one.name.startswith(_CLAIMS)]
    unwanted = [_header(one) for one in match.without_headers if not one.name.startswith(_CLAIMS)]
    for header in unwanted:
        header.invert_match = True
        # A header that is not there has no text to compare, so it is compared as an empty one.
        header.treat_missing_header_as_empty = not header.present_match
    return wanted + unwanted


def _claims(match: HttpMatch) -> list[MetadataMatcher]:
    wanted = [_claim(one) for one in match.headers if one.name.startswith(_CLAIMS)]
    unwanted = [_claim(one) for one in match.without_headers if one.name.startswith(_CLAIMS)]
    for claim in unwanted:
        claim.invert = True
    return wanted + unwanted


def _claim(condition: NamedMatch) -> MetadataMatcher:
    """Return the match of a claim: `.a.b` or `[a][b]` after the prefix names it."""
    written = condition.name.removeprefix(_CLAIMS)
    bracketed = written.startswith("[")
    names = written.strip("[]").split("][") if bracketed else written.lstrip(".").split(".")
    comparison = matchers.value(text(condition.match) or matchers.regex(".+"))
    either = matchers.any_value([comparison, matchers.listed(comparison)])
    return matchers.metadata(_TOKENS, ["payload", *names], either)


def _header(condition: NamedMatch) -> HeaderMatcher:
    comparison = text(condition.match)
    if comparison is None:
        return HeaderMatcher(name=condition.name, present_match=True)
    return HeaderMatcher(name=condition.name, string_match=comparison)


def _query_parameters(conditions: Sequence[NamedMatch]) -> list[QueryParameterMatcher]:
    found = []
    for condition in sorted(conditions, key=lambda one: one.name):
        comparison = text(condition.match)
        if comparison is None:
            found.append(QueryParameterMatcher(name=condition.name, present_match=True))
        else:
            found.append(QueryParameterMatcher(name=condition.name, string_match=comparison))
    return found
