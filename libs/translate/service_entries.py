"""Service entries: one service row for each host of a ServiceEntry.

Others find them by host, as they find Kubernetes' services. Several resources may declare one host:
entries of one namespace that agree in all but ports and endpoints are one service, which is the
oldest one's. Others keep rows of their own, whose keys end in the entry's name, and which of them a
client sees is decided in `libs.proxy.visibility`. Endpoints are made in `entry_endpoints`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from msgspec import structs

from libs.api import reasons
from libs.api.networking.service_entry import EntryPort, Location, ServiceEntry
from libs.api.networking.service_entry import Resolution as Written
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref, service_key
from libs.model.mesh import Key, Table
from libs.model.service import Resolution, Service, ServicePort
from libs.model.workload import Namespace
from libs.proxy.visibility import NOBODY, OWNER
from libs.translate import auto_addresses, entry_visibility, protocols
from libs.translate.auto_addresses import Claim
from libs.translate.groups import Group
from libs.translate.ownership import others
from libs.translate.services import TRAFFIC_DISTRIBUTION
from libs.translate.state import Derived
from libs.translate.view import View

REGISTRY = "External"

_RESOLUTIONS: Mapping[Written, Resolution] = {
    Written.NONE: Resolution.ORIGINAL,
    Written.STATIC: Resolution.ENDPOINTS,
    Written.DNS: Resolution.DNS,
    Written.DNS_ROUND_ROBIN: Resolution.DNS_ROUND_ROBIN,
    Written.DYNAMIC_DNS: Resolution.DYNAMIC_DNS,
}


def derive(view: View, entry: ServiceEntry) -> Derived:
    """Return the rows of an entry's hosts, each with its automatic addresses."""
    claimed = {claim.host: _addresses(view, claim) for claim in auto_addresses.claims(entry)}
    rows = [
        structs.replace(row, export_to=_seen_by(view, entry, host))
        for host in hosts_of(entry)
        if (merged := declarers(view, entry, host))
        for row in [_row(merged, host, claimed.get(host, ()))]
    ]
    none_left = [host for host, found in claimed.items() if not found]
    return Derived(
        rows=tuple((Key(Table.SERVICE, row.key), row) for row in rows),
        problems=(
            *(_without_address(entry, host) for host in none_left),
            *_narrowed(view, entry),
        ),
    )


def _seen_by(view: View, entry: ServiceEntry, host: str) -> tuple[str, ...]:
    """Return to whom a host is exported: no further than the mesh and the host's owner let it."""
    found = _capped(view, entry)
    if others(view, entry, host) and set(found) != {NOBODY}:
        return (OWNER,)
    return found


def _capped(view: View, entry: ServiceEntry) -> tuple[str, ...]:
    rules, namespace = view.settings.entry_visibility, entry.metadata.namespace
    if rules is None:
        return entry.spec.export_to
    known = cast("Namespace | None", view.row(Table.NAMESPACE, namespace))
    declared = entry.spec.export_to or view.settings.service_export_to
    row = known or Namespace(name=namespace, ref=Ref(""))
    found = entry_visibility.capped(declared, rules, row)
    return entry.spec.export_to if found == declared else found


def _narrowed(view: View, entry: ServiceEntry) -> Iterator[Problem]:
    """Yield why hosts of an entry are seen by fewer than it says."""
    found = _capped(view, entry)
    if found != entry.spec.export_to:
        who = "nobody" if found == (NOBODY,) else f"namespace {entry.metadata.namespace} only"
        text = f"the mesh's serviceEntryVisibility lets {who} see what this declares"
        yield Problem(entry.ref, "spec.exportTo", reasons.CAPPED_VISIBILITY, text, Severity.WARNING)
    for index, host in enumerate(entry.spec.hosts):
        if whose := others(view, entry, host.lower()):
            text = f"{host} is that of {whose}: namespace {entry.metadata.namespace} sees this only"
            path = f"spec.hosts[{index}]"
            yield Problem(entry.ref, path, reasons.FOREIGN_HOST, text, Severity.WARNING)


def hosts_of(entry: ServiceEntry) -> list[str]:
    """Return the hosts of an entry, each once."""
    return list(dict.fromkeys(host.lower() for host in entry.spec.hosts))


def declarers(view: View, entry: ServiceEntry, host: str) -> list[ServiceEntry]:
    """Return the entries that declare a host together with `entry`, which comes first.

    None if `entry` is not the oldest of them.
    """
    place = f"{entry.metadata.namespace}/{host}"
    every = sorted(view.resources(ServiceEntry, Group.DECLARERS, place), key=_age)
    alike = [one for one in every if _agree(one, entry)]
    return alike if alike[0].ref == entry.ref else []


def _age(entry: ServiceEntry) -> tuple[int, str]:
    return entry.metadata.creation_timestamp or 0, entry.metadata.name


def _agree(one: ServiceEntry, other: ServiceEntry) -> bool:
    return (
        one.spec.resolution is other.spec.resolution
        and one.spec.location is other.spec.location
        and one.spec.workload_selector == other.spec.workload_selector
        and one.metadata.labels == other.metadata.labels
        and set(one.spec.export_to) == set(other.spec.export_to)
    )


def check(view: View, entry: ServiceEntry) -> Derived:
    """Return which hosts of an entry an older resource of its namespace already declares."""
    return Derived(problems=tuple(_conflicts(view, entry)))


def _row(merged: Sequence[ServiceEntry], host: str, auto: tuple[str, ...]) -> Service:
    entry = merged[0]
    metadata, spec = entry.metadata, entry.spec
    ports = {port.number: port for one in reversed(merged) for port in one.spec.ports}
    ordered = dict.fromkeys(port.number for one in merged for port in one.spec.ports)
    return Service(
        key=service_key(metadata.namespace, host, metadata.name),
        ref=entry.ref,
        host=host,
        namespace=metadata.namespace,
        name=host,
        created=metadata.creation_timestamp or 0,
        ports=tuple(_port(ports[number]) for number in ordered),
        addresses=spec.addresses,
        auto_addresses=auto,
        resolution=_RESOLUTIONS[spec.resolution],
        external=spec.location is Location.MESH_EXTERNAL,
        registry=REGISTRY,
        selector=spec.workload_selector.labels if spec.workload_selector else {},
        labels=metadata.labels,
        export_to=spec.export_to,
        subject_alt_names=tuple(
            sorted({name for one in merged for name in one.spec.subject_alt_names})
        ),
        traffic_distribution=metadata.annotations.get(TRAFFIC_DISTRIBUTION, ""),
    )


def _port(port: EntryPort) -> ServicePort:
    return ServicePort(
        port.number, port.name, protocols.of_name(port.protocol), port.target_port or 0
    )


def _addresses(view: View, claim: Claim) -> tuple[str, ...]:
    number = _number(view, claim, {})
    return () if number is None else auto_addresses.addresses(number)


def _number(view: View, claim: Claim, settled: dict[Claim, int | None]) -> int | None:
    """Return the number of a claim: the first of its choices that no older claim has."""
    if claim not in settled:
        settled[claim] = next(
            (
                number
                for number in claim.choices()
                if all(
                    _number(view, rival, settled) != number
                    for rival in _rivals(view, claim, number)
                )
            ),
            None,
        )
    return settled[claim]


def _rivals(view: View, claim: Claim, number: int) -> Iterator[Claim]:
    for entry in view.resources(ServiceEntry, Group.CLAIMS, str(number)):
        for rival in auto_addresses.claims(entry):
            if rival < claim and number in rival.choices():
                yield rival


def _without_address(entry: ServiceEntry, host: str) -> Problem:
    text = (
        f"all automatic addresses that {host} could have are taken: give it one in spec.addresses"
    )
    return Problem(entry.ref, "spec.hosts", reasons.NO_ADDRESS_LEFT, text, Severity.WARNING)


def _conflicts(view: View, entry: ServiceEntry) -> Iterator[Problem]:
    for index, written in enumerate(entry.spec.hosts):
        found = cast("list[Service]", view.rows(Table.SERVICE, Group.SERVICES, written.lower()))
        own = [row for row in found if row.ref == entry.ref]
        rivals = [row for row in found if row.namespace == entry.metadata.namespace]
        winner = min(rivals, key=_rank, default=None)
        if own and winner is not None and winner.ref != entry.ref:
            text = f"{winner.ref} declares {written} in this namespace and comes first"
            path = f"spec.hosts[{index}]"
            yield Problem(
                entry.ref, path, reasons.CONFLICTING_HOST, text, severity=Severity.WARNING
            )


def _rank(row: Service) -> tuple[bool, int, str, str]:
    return row.registry == REGISTRY, row.created, row.name, row.ref
