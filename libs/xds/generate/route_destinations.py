"""Destinations: from a host in a routing to a cluster's name and to the policy under which it runs.

A destination that does not exist still gets a name: its requests fail with 503, and the name says
whom they were for.
"""

from libs.model.traffic import ConsistentHash, Destination, TrafficPolicy
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds.names import ClusterName


class Destinations:
    """The services of a scope, by every host name that stands for them."""

    def __init__(self, scope: OutboundScope) -> None:
        self._services: dict[str, ScopedService] = {}
        for scoped in scope.services:
            for host in (*scoped.aliases, scoped.service.host):
                self._services[host] = scoped

    def noting(self) -> "NotingDestinations":
        """Return the same destinations; they note what is looked up."""
        return NotingDestinations(self._services)

    def find(self, host: str) -> ScopedService | None:
        """Return the service that `host` names, or None. All else here asks this."""
        return self._services.get(host)

    def cluster(self, destination: Destination, listener_port: int) -> ClusterName:
        """Return the cluster of a destination.

        Without a port of its own it is called at its only port, or at the listener's.
        """
        scoped = self.find(destination.host)
        host = scoped.service.host if scoped else destination.host
        port = destination.port or listener_port
        if not destination.port and scoped and len(scoped.service.ports) == 1:
            port = scoped.service.ports[0].number
        return ClusterName(port, destination.subset, host)

    def policy(self, destination: Destination, listener_port: int) -> TrafficPolicy | None:
        """Return the policy of a destination's cluster, or None if there is no such cluster."""
        scoped = self.find(destination.host)
        if scoped is None:
            return None
        name = self.cluster(destination, listener_port)
        named = (subset for subset in scoped.subsets if subset.name == name.subset)
        subset = next(named, None)
        return subset.policies.get(name.port) if subset else None

    def consistent_hash(
        self, destination: Destination, listener_port: int
    ) -> ConsistentHash | None:
        """Return by what a destination's requests are hashed, or None if they are not."""
        policy = self.policy(destination, listener_port)
        balancing = policy.load_balancing if policy else None
        return balancing.consistent_hash if balancing else None


class NotingDestinations(Destinations):
    """Destinations that note what is looked up, and what was found."""

    def __init__(self, services: dict[str, ScopedService]) -> None:
        self._services = services
        self._noted: dict[str, ScopedService | None] = {}

    def find(self, host: str) -> ScopedService | None:
        """Return the service that `host` names, or None, and note it."""
        found = self._noted[host] = super().find(host)
        return found

    @property
    def found(self) -> tuple[tuple[str, ScopedService | None], ...]:
        """What was looked up so far."""
        return tuple(self._noted.items())
