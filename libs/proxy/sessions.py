"""Persistent sessions: which services keep them, and who is called by those that have one only.

Others call them sticky or stateful. A label of the Service names the cookie or the header that says
at which endpoint a session is. As with Istio, nothing reads it but a filter that somebody adds
(`envoy.filters.http.stateful_session`): endpoints that drain are kept for it, and get nothing else.
"""

from collections.abc import Iterable, Iterator

from msgspec import structs

from libs.model.endpoint import Endpoint, Health
from libs.model.service import Service

DRAINING = "istio.io/draining"
"""Label of endpoints that are to get nothing new, with any value."""

_NAMED_BY = ("istio.io/persistent-session", "istio.io/persistent-session-header")


def kept(service: Service) -> bool:
    """Tell whether a service keeps sessions, so that endpoints which drain still serve theirs."""
    return any(service.labels.get(label) for label in _NAMED_BY)


def served(service: Service, endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """Yield the endpoints that still serve somebody; those that drain are told as such."""
    keeps = kept(service)
    for endpoint in endpoints:
        if endpoint.health is not Health.DRAINING and not endpoint.labels.get(DRAINING):
            yield endpoint
        elif keeps:
            yield structs.replace(endpoint, health=Health.DRAINING)
