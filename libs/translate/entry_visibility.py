"""Visibility of entries: who sees a ServiceEntry's hosts at most, by the mesh's own rules.

The first policy whose selectors all cover the entry's namespace counts, else the default. It only
ever narrows what `exportTo` says.
"""

from libs.api import mesh_parts as api
from libs.api.label_selectors import matches
from libs.model.settings import EntryVisibility, Selector
from libs.model.workload import Namespace
from libs.proxy.visibility import NOBODY, OWNER, PUBLIC


def read(written: api.ServiceEntryVisibility) -> EntryVisibility | None:
    """Return the rules in the model's form; none that sidecars do not follow."""
    if not written.apply_to_sidecars:
        return None
    return EntryVisibility(
        default=_named(written.default_visibility),
        policies=tuple(
            (_named(policy.visibility), tuple(_selector(it) for it in policy.matching_rules))
            for policy in written.policies
        ),
    )


def capped(
    declared: tuple[str, ...], rules: EntryVisibility, namespace: Namespace
) -> tuple[str, ...]:
    """Return who sees what `namespace` declares, of those to whom it is `declared`."""
    widest = _widest(rules, namespace.labels)
    if widest == PUBLIC or set(declared) == {NOBODY}:
        return declared
    own = widest == OWNER and not {PUBLIC, OWNER, namespace.name}.isdisjoint(declared)
    return (OWNER,) if own else (NOBODY,)


def _widest(rules: EntryVisibility, labels: dict[str, str]) -> str:
    for widest, selectors in rules.policies:
        if all(one is not None and matches(_written(one), labels) for one in selectors):
            return widest
    return rules.default


def _named(visibility: api.Visibility) -> str:
    known = {api.Visibility.NONE: NOBODY, api.Visibility.NAMESPACE: OWNER}
    return known.get(visibility, PUBLIC)


def _selector(rule: api.VisibilityRule) -> Selector | None:
    written = rule.namespace_selector
    if written is None:
        return None
    expressions = ((it.key, it.operator, it.values) for it in written.match_expressions)
    return Selector(labels=written.match_labels, expressions=tuple(expressions))


def _written(selector: Selector) -> api.LabelSelector:
    return api.LabelSelector(
        match_labels=selector.labels,
        match_expressions=tuple(api.Requirement(*it) for it in selector.expressions),
    )
