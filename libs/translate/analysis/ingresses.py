"""Ingresses: routes of a service that requests through an Ingress never meet.

An Ingress leads straight to its backends. The routes of a VirtualService for such a host are for
sidecars, and so nobody chooses among the host's subsets here.
"""

from collections.abc import Iterator, Mapping

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.hosts import matches
from libs.model.ids import Ref
from libs.model.traffic import MESH_GATEWAY, Routing
from libs.translate.order import age
from libs.translate.state import State

_INGRESS = "Ingress/"


def passed(state: State) -> Iterator[Problem]:
    """Yield hosts of sidecars' routes to which an Ingress leads past these routes."""
    every = sorted(state.mesh.routings.values(), key=age)
    backends = _backends([it for it in every if it.ref.startswith(_INGRESS)])
    for routing in every if backends else ():
        if MESH_GATEWAY not in routing.gateways or not _chooses(routing):
            continue
        for index, written in enumerate(routing.hosts):
            for host, ref in backends.items():
                if matches(written, host):
                    text = f"{ref} leads to {host} past these routes and their subsets"
                    path, reason = f"spec.hosts[{index}]", reasons.INGRESS_PASSES_RULES
                    yield Problem(routing.ref, path, reason, text, Severity.WARNING)


def _backends(ingresses: list[Routing]) -> Mapping[str, Ref]:
    """Return the hosts to which Ingresses lead, each with the oldest that leads there."""
    found: dict[str, Ref] = {}
    for routing in ingresses:
        for route in routing.http:
            for one in route.destinations:
                found.setdefault(one.destination.host, next(iter(route.refs), routing.ref))
    return found


def _chooses(routing: Routing) -> bool:
    return any(it.destination.subset for rule in routing.http for it in rule.destinations)
