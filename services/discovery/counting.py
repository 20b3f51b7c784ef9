"""Counting: gauges over the mesh's tables, under the names that Istio's dashboards ask for.

Endpoints move all the time, so what is counted of them is kept by set: a change costs what changed,
and a scrape costs nothing. What problems say already is counted from them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TypeVar

from libs.api import reasons
from libs.api.problem import Problem
from libs.model.endpoint import EndpointSet, Health
from libs.model.mesh import Mesh
from libs.model.service import Protocol, Resolution, Service
from services.discovery import metrics

_BY_DNS = frozenset({Resolution.DNS, Resolution.DNS_ROUND_ROBIN})
_ANYWHERE = ("",)
T = TypeVar("T")


class Counting:
    """Keeps the gauges; called with one mesh after the other, by one thread at a time."""

    def __init__(self) -> None:
        self._sets: Mapping[str, EndpointSet] = {}
        self._mesh = Mesh()
        self._unready: dict[str, int] = {}
        self._podless: dict[str, int] = {}  # endpoints that are no workload's, by key
        self._ports: dict[str, frozenset[str]] = {}  # names of ports that have endpoints, by key
        self._members: Counter[str] = Counter()  # sets that name a workload
        self._claims: Counter[tuple[str, int]] = Counter()  # sets that name a workload's port

    def update(self, mesh: Mesh, problems: Iterable[Problem]) -> None:
        """Set the gauges to what `mesh` and `problems` are."""
        before, self._mesh = self._mesh, mesh
        sets_moved = mesh.endpoints is not before.endpoints
        services_moved = mesh.services is not before.services
        if sets_moved:
            self._take(mesh.endpoints)
        if sets_moved or services_moved:
            self._count_services(mesh)
        if sets_moved or mesh.workloads is not before.workloads:
            self._count_workloads(mesh)
        if services_moved:
            metrics.SAME_HOSTS.set(_same_hosts(mesh.services.values()))
            metrics.TCP_CONFLICTS.set(_tcp_conflicts(mesh.services.values()))
        _count_problems(problems)

    def _take(self, sets: Mapping[str, EndpointSet]) -> None:
        before, self._sets = self._sets, sets
        for key in before.keys() | sets.keys():
            old, new = before.get(key), sets.get(key)
            if old is not new:
                self._tell(key, old, -1)
                self._tell(key, new, +1)
        metrics.NOT_READY.set(sum(self._unready.values()))
        metrics.INBOUND_CONFLICTS.set(sum(1 for times in self._claims.values() if times > 1))

    def _tell(self, key: str, found: EndpointSet | None, sign: int) -> None:
        endpoints = found.endpoints if found else ()
        self._unready[key] = sum(one.health is Health.UNHEALTHY for one in endpoints)
        self._podless[key] = sum(not one.workload for one in endpoints)
        self._ports[key] = frozenset(one.port_name for one in endpoints)
        if not endpoints:
            del self._unready[key], self._podless[key], self._ports[key]
        named = {str(one.workload) for one in endpoints if one.workload}
        claims = {(str(one.workload), one.port) for one in endpoints if one.workload}
        _add(self._members, named, sign)
        _add(self._claims, claims, sign)

    def _count_services(self, mesh: Mesh) -> None:
        empty = without = podless = 0
        for key, service in mesh.services.items():
            podless += self._podless.get(key, 0) if service.registry == "Kubernetes" else 0
            having = self._ports.get(key, frozenset())
            lacking = sum(port.name not in having for port in service.ports)
            if service.resolution is Resolution.ENDPOINTS:
                empty += lacking
            elif service.resolution in _BY_DNS:
                without += lacking
        metrics.NO_POD.set(podless)
        metrics.NO_INSTANCES.set(empty)
        metrics.DNS_WITHOUT_ENDPOINTS.set(without)

    def _count_workloads(self, mesh: Mesh) -> None:
        alone = (key for key, one in mesh.workloads.items() if one.mtls and not one.router)
        metrics.NO_SERVICE.set(sum(key not in self._members for key in alone))


def _add(counter: Counter[T], keys: Iterable[T], sign: int) -> None:
    for key in keys:
        counter[key] += sign
        if not counter[key]:
            del counter[key]


def _same_hosts(services: Iterable[Service]) -> int:
    hosts = Counter((one.namespace, one.host) for one in services)
    return sum(times - 1 for times in hosts.values())


def _tcp_conflicts(services: Iterable[Service]) -> int:
    """Ports of raw TCP that stand at one address: the first has the listener to itself."""
    places = Counter(
        chain.from_iterable(
            ((address, port.number) for address in one.addresses or _ANYWHERE)
            for one in services
            for port in one.ports
            if port.protocol is Protocol.TCP and not one.alias_of
            if one.addresses or one.resolution is not Resolution.ORIGINAL
        )
    )
    return sum(times - 1 for times in places.values())


def _count_problems(problems: Iterable[Problem]) -> None:
    found = Counter((it.reason, it.ref.partition("/")[0]) for it in problems)
    metrics.SAME_DOMAINS.set(found[reasons.CONFLICTING_HOST, "VirtualService"])
    metrics.SAME_SUBSETS.set(found[reasons.DUPLICATE_SUBSET, "DestinationRule"])
