"""Analysis: what is odd about namespaces, pods, what makes pods, and whom an API server asks.

The half of `seinectl analyze` that is about documents as they are written: proxies themselves, what
controllers have said in statuses, definitions of kinds, names of clusters. What resources say of
each other is `libs.translate.analysis`. Istio's analyzers look for the same, and give it the codes
that the reasons carry.

A document is taken for what is there. What depends on documents that are missing is not said:
without its Namespace nobody knows who is injected.
"""

from collections.abc import Iterable

from libs.api.problem import Problem
from libs.inject.analysis import (
    annotations,
    definitions,
    images,
    namespaces,
    networks,
    pods,
    statuses,
    webhooks,
)
from libs.inject.analysis.scenery import Scenery
from libs.inject.analysis.subject import Subject


def findings(subjects: Iterable[Subject], root: str = "istio-system") -> list[Problem]:
    """Return what is noticed about documents, in order; `root` is the control plane's namespace."""
    seen = Scenery.of(subjects, root)
    found = [*namespaces.labels(seen), *namespaces.injection(seen), *webhooks.overlaps(seen)]
    found += (*webhooks.addresses(seen), *pods.without_proxy(seen), *pods.as_proxy_user(seen))
    found += (*images.unfilled(seen), *images.outdated(seen), *networks.registries(seen))
    found += (*definitions.gateway_kinds(seen), *statuses.denials(seen))
    for subject in seen.subjects:
        found += annotations.judged(subject)
    return sorted(set(found))
