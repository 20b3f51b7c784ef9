"""What a service's endpoints say about the service itself, apart from where they are.

Endpoints move all the time, but who they are and whether they have a sidecar hardly ever does. A
scope depends on these facts and not on the endpoints, so that a moving endpoint touches no cluster.
"""

from collections.abc import Mapping
from ipaddress import ip_address

from msgspec import Struct

from libs.model.endpoint import Endpoint, EndpointSet, Health
from libs.model.service import Resolution, Service


class EndpointFacts(Struct, frozen=True, gc=False, kw_only=True):
    """Facts about the endpoints of one service."""

    accounts: tuple[tuple[str, str], ...] = ()  # (namespace, service account), sorted
    plaintext: bool = True  # one at least has no sidecar, or there are none
    addresses: tuple[str, ...] = ()  # only if the application dials them itself
    names: tuple[tuple[str, str], ...] = ()  # likewise: hostname and address, sorted
    by_name: tuple[Endpoint, ...] = ()  # only if they are resolved by DNS


NO_ENDPOINTS = EndpointFacts()
_DNS = frozenset({Resolution.DNS, Resolution.DNS_ROUND_ROBIN})


class FactTable:
    """The facts of all services; an entry stays the same object while it stays equal."""

    def __init__(self) -> None:
        self._inputs: dict[str, tuple[EndpointSet, Resolution]] = {}
        self._facts: Mapping[str, EndpointFacts] = {}
        self._tables: tuple[object, object] = (None, None)

    def update(
        self, endpoints: Mapping[str, EndpointSet], services: Mapping[str, Service]
    ) -> Mapping[str, EndpointFacts]:
        """Return the facts by ServiceKey; the same object if nothing in it changed."""
        if self._tables[0] is endpoints and self._tables[1] is services:
            return self._facts
        self._tables = (endpoints, services)
        facts: dict[str, EndpointFacts] = {}
        inputs: dict[str, tuple[EndpointSet, Resolution]] = {}
        for key, row in endpoints.items():
            service = services.get(key)
            if service is not None:
                inputs[key] = (row, service.resolution)
                facts[key] = self._entry(key, row, service.resolution)
        known = self._facts
        changed = len(known) != len(facts) or any(
            known.get(key) is not entry for key, entry in facts.items()
        )
        self._inputs = inputs
        self._facts = facts if changed else known
        return self._facts

    def _entry(self, key: str, row: EndpointSet, resolution: Resolution) -> EndpointFacts:
        known = self._inputs.get(key)
        if known is not None and known[0] is row and known[1] is resolution:
            return self._facts[key]
        entry = _facts(row, resolution)
        before = self._facts.get(key)
        return before if before == entry and before is not None else entry


def _facts(row: EndpointSet, resolution: Resolution) -> EndpointFacts:
    accounts = {(e.namespace, e.service_account) for e in row.endpoints if e.service_account}
    dialled = row.endpoints if resolution is Resolution.ORIGINAL else ()
    return EndpointFacts(
        accounts=tuple(sorted(accounts)),
        plaintext=not row.endpoints or any(not endpoint.mtls for endpoint in row.endpoints),
        addresses=tuple(sorted({e.address for e in dialled if _may_be_dialled(e)})),
        names=tuple(sorted({(e.hostname, e.address) for e in dialled if e.hostname})),
        by_name=row.endpoints if resolution in _DNS else (),
    )


def _may_be_dialled(endpoint: Endpoint) -> bool:
    return endpoint.health is not Health.DRAINING and _is_ip(endpoint.address)


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
