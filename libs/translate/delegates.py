"""Delegates: routes of a VirtualService that another one, without hosts, refines.

Each route of the delegate takes the place of the root's route and keeps within it: a match of the
delegate that no match of the root allows makes its route fall away. What the delegate says comes
before what the root says. A delegate that is missing, or not for the root's namespace, costs only
the route that asks for it.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import TypeVar

from msgspec.structs import replace

from libs.api import reasons
from libs.api.networking import virtual_service as api
from libs.api.problem import Problem, Severity
from libs.model.traffic import HttpMatch, HttpRoute, MatchKind, NamedMatch, StringMatch
from libs.translate import http_routes
from libs.translate.names import Names
from libs.translate.state import Derived
from libs.translate.view import View

T = TypeVar("T")
_EVERYBODY = "*"


def routes(view: View, resource: api.VirtualService, names: Names) -> Iterator[HttpRoute]:
    """Yield the HTTP routes of a VirtualService with hosts, those of delegates in their places."""
    for rule in resource.spec.http:
        made = http_routes.route(rule, names)
        if rule.delegate is None:
            yield made
            continue
        delegate, _ = _find(view, resource, rule.delegate)
        if delegate is not None:
            yield from (merged for _, merged in _merged(view, made, delegate) if merged)


def check(view: View, resource: api.VirtualService) -> Derived:
    """Return what a VirtualService delegates in vain."""
    names = Names(resource.metadata.namespace, view.settings)
    return Derived(problems=tuple(_problems(view, resource, names)))


def _problems(view: View, resource: api.VirtualService, names: Names) -> Iterator[Problem]:
    for index, rule in enumerate(resource.spec.http):
        if rule.delegate is None or not resource.spec.hosts:
            continue
        path = f"spec.http[{index}].delegate"
        delegate, wrong = _find(view, resource, rule.delegate)
        if delegate is None:
            yield Problem(resource.ref, path, reasons.DELEGATE_NOT_FOUND, wrong)
            continue
        for number, merged in _merged(view, http_routes.route(rule, names), delegate):
            if merged is None:
                text = (
                    f"spec.http[{number}] of {delegate.ref} matches nothing that this one lets in"
                )
                yield Problem(
                    resource.ref, path, reasons.UNREACHABLE_RULE, text, severity=Severity.WARNING
                )


def _find(
    view: View, root: api.VirtualService, written: api.Delegate
) -> tuple[api.VirtualService | None, str]:
    """Return the delegate, or why there is none."""
    own = root.metadata.namespace
    namespace = written.namespace or own
    found = view.resource(api.VirtualService, namespace, written.name)
    if found is None:
        return None, f"there is no VirtualService {written.name} in namespace {namespace}"
    if found.spec.hosts:
        return None, f"{found.ref} has hosts, and only one without can be delegated to"
    export_to = found.spec.export_to or view.settings.routing_export_to
    audience = {namespace if name == "." else name for name in export_to}
    if not audience & {_EVERYBODY, own}:
        return None, f"{found.ref} is not exported to namespace {own}"
    return found, ""


def _merged(
    view: View, root: HttpRoute, delegate: api.VirtualService
) -> Iterator[tuple[int, HttpRoute | None]]:
    """Yield what becomes of each route of the delegate, with its number; None if it falls away."""
    names = Names(delegate.metadata.namespace, view.settings)
    for number, rule in enumerate(delegate.spec.http):
        if rule.delegate is None:  # one level is all there is
            merged = merge(root, http_routes.route(rule, names))
            yield number, replace(merged, refs=(delegate.ref,)) if merged else None


def merge(root: HttpRoute, delegate: HttpRoute) -> HttpRoute | None:
    """Return `delegate` within the bounds of `root`; None if its matches leave them."""
    matches = _matches(root.matches, delegate.matches)
    if matches is None:
        return None
    return replace(
        delegate,
        name=_name(root.name, delegate.name),
        matches=matches,
        rewrite=delegate.rewrite or root.rewrite,
        direct_response=delegate.direct_response or root.direct_response,
        timeout=_first(delegate.timeout, root.timeout),
        retries=delegate.retries or root.retries,
        fault=delegate.fault or root.fault,
        mirrors=delegate.mirrors or root.mirrors,
        cors=delegate.cors or root.cors,
        headers=delegate.headers or root.headers,
    )


def _name(root: str, delegate: str) -> str:
    return f"{root}-{delegate}" if root and delegate else root or delegate


def _first(one: T | None, other: T | None) -> T | None:
    return other if one is None else one


def _matches(
    root: tuple[HttpMatch, ...], delegate: tuple[HttpMatch, ...]
) -> tuple[HttpMatch, ...] | None:
    if not root or not delegate:
        return root or delegate
    found: list[HttpMatch] = []
    for inner in delegate:
        within = [_match(outer, inner) for outer in root if not _conflict(outer, inner)]
        if not within:
            return None
        found += within
    return tuple(found)


def _match(root: HttpMatch, delegate: HttpMatch) -> HttpMatch:
    return replace(
        delegate,
        name=_name(root.name, delegate.name),
        uri=delegate.uri or root.uri,
        scheme=delegate.scheme or root.scheme,
        method=delegate.method or root.method,
        authority=delegate.authority or root.authority,
        headers=_named(root.headers, delegate.headers),
        without_headers=_named(root.without_headers, delegate.without_headers),
        query_params=_named(root.query_params, delegate.query_params),
        port=delegate.port or root.port,
        source_labels={**root.source_labels, **delegate.source_labels},
        source_namespace=delegate.source_namespace or root.source_namespace,
        gateways=delegate.gateways or root.gateways,
        stat_prefix=delegate.stat_prefix or root.stat_prefix,
    )


def _named(root: Iterable[NamedMatch], delegate: Iterable[NamedMatch]) -> tuple[NamedMatch, ...]:
    both = {match.name: match for match in (*root, *delegate)}
    return tuple(both[name] for name in sorted(both))


def _conflict(root: HttpMatch, delegate: HttpMatch) -> bool:
    """Tell whether a match of a delegate may hold where the root's does not."""
    parts = (
        (root.uri, delegate.uri),
        (root.scheme, delegate.scheme),
        (root.method, delegate.method),
        (root.authority, delegate.authority),
        *_pairs(root.headers, delegate.headers),
        *_pairs(root.without_headers, delegate.without_headers),
        *_pairs(root.query_params, delegate.query_params),
    )
    if any(outer and inner and _texts_conflict(outer, inner) for outer, inner in parts):
        return True
    labels = (
        root.source_labels.get(name, value) != value
        for name, value in delegate.source_labels.items()
    )
    return (
        root.ignore_uri_case != delegate.ignore_uri_case
        or _differ(root.port, delegate.port)
        or _differ(root.source_namespace, delegate.source_namespace)
        or any(labels)
    )


def _differ(root: object, delegate: object) -> bool:
    return bool(root) and bool(delegate) and root != delegate


def _pairs(
    root: Iterable[NamedMatch], delegate: Iterable[NamedMatch]
) -> Iterator[tuple[StringMatch, StringMatch]]:
    for outer, inner in product(root, delegate):
        if outer.name == inner.name:
            yield outer.match, inner.match


def _texts_conflict(root: StringMatch, delegate: StringMatch) -> bool:
    kinds = {root.kind, delegate.kind}
    if MatchKind.PRESENT in kinds:
        return False
    if MatchKind.REGEX in kinds:  # nobody can tell whether one is within the other
        return True
    if root.kind is MatchKind.EXACT:
        return delegate != root
    return not delegate.value.startswith(root.value)
