"""Names: the table with which an agent answers the DNS queries of its application.

One resource a class, and none for proxies whose agents do not ask. It holds what the class can
call: services by their virtual or automatic addresses, headless ones by those of their pods, and
other names of each. A pod of a headless service that says its hostname there has a name of its own.
Short forms are the agent's to find. Hosts without an address are left out, so that whoever asks for
them is answered by the network's own servers.
"""

from functools import partial

from libs.model.service import Resolution, Service
from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.proxy.address_families import of_families
from libs.proxy.memo import WeakMemo
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds.generate import narrow
from libs.xds.types import NAME_TABLE, NamedResource, resource

NAME = "names"
"""Of the only resource; agents ask for the type, not for a name."""

_KUBERNETES = "Kubernetes"
_memo: WeakMemo[list[NamedResource]] = WeakMemo()


def generate(scope: OutboundScope) -> list[NamedResource]:
    """Return the table of names of a class whose agents answer DNS queries."""
    if not scope.dns_capture:
        return []
    narrowed = narrow.for_names(scope)
    return _memo.get(narrowed, (), partial(_generate, narrowed))


def _generate(scope: OutboundScope) -> list[NamedResource]:
    table = NameTable()
    sources = []
    for scoped in scope.services:
        addresses = _addresses(scope, scoped)
        if addresses:
            sources.append(scoped.service.ref)
            for host in (scoped.service.host, *scoped.aliases):
                _describe(table.table[host], host, scoped.service)
                table.table[host].ips.extend(addresses)
            _name_pods(table, scoped, frozenset(addresses))
    body = table.SerializeToString(deterministic=True)
    return [resource(NAME, NAME_TABLE, body=body, sources=sources)]


def _name_pods(table: NameTable, scoped: ScopedService, known: frozenset[str]) -> None:
    """Add `<hostname>.<host>` for each pod of a headless service that has a hostname."""
    for hostname, address in scoped.pod_names:
        host = f"{hostname}.{scoped.service.host}"
        if address in known:
            _describe(table.table[host], host, scoped.service)
            table.table[host].ips.append(address)


def _describe(entry: NameTable.NameInfo, host: str, service: Service) -> None:
    entry.registry = service.registry
    entry.namespace = service.namespace
    if service.registry == _KUBERNETES:
        entry.shortname = host.partition(".")[0]


def _addresses(scope: OutboundScope, scoped: ScopedService) -> list[str]:
    service = scoped.service
    if service.resolution is Resolution.ORIGINAL and not service.addresses:
        return of_families(scoped.pod_addresses, scope.families)
    single = (address for address in service.addresses if "/" not in address)
    return of_families(single, scope.families)
