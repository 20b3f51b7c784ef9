"""Analysis: findings about a whole state that may be true for a while in any healthy mesh.

A policy often comes before the workloads that it selects, so these findings are no problems of a
change, and `apply` does not look for them. `findings` does, once, for people who ask.
"""

from libs.api.problem import Problem
from libs.translate.analysis import gateways, ingresses, selectors, services, sharing
from libs.translate.state import State


def findings(state: State) -> list[Problem]:
    """Return what is noticed, in order.

    While no workload is known at all, nothing is said of what would select them: manifests without
    Pods have none.
    """
    found = [*selectors.several(state), *gateways.missing_hosts(state)]
    found += (*gateways.certificates(state), *services.names(state), *services.protocols(state))
    found += (*ingresses.passed(state), *gateways.internal(state))
    if state.mesh.workloads:
        found += (*selectors.idle(state), *selectors.subsets(state), *sharing.services(state))
        found += (*selectors.unheard(state), *gateways.ports(state), *gateways.claims(state))
    return sorted(set(found))
