"""Rules of a ServiceEntry: those of its own; what its resolution asks for is in `resolutions`."""

from libs.api import reasons
from libs.api.networking.service_entry import EntryPort, Resolution, ServiceEntry, ServiceEntrySpec
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.export_to import check_export_to
from libs.api.validate.hosts import is_label, wrong_pattern
from libs.api.validate.labels import check_workload_labels
from libs.api.validate.ports import check_port
from libs.api.validate.protocols import check_protocol, is_http, is_tls
from libs.api.validate.resolutions import check_resolution
from libs.api.validate.stream_routes import is_block

SPEC: Path = (None, "spec")
AUTO_ALLOCATE = "networking.istio.io/enable-autoallocate-ip"
_WITHOUT_WILDCARD = "'*' stands for every host, and a service must have a name"


def check(resource: ServiceEntry, report: Report) -> None:
    """Report what is wrong with a ServiceEntry."""
    spec, metadata = resource.spec, resource.metadata
    check_workload_labels(spec.workload_selector, (SPEC, "workloadSelector"), report)
    if spec.workload_selector is not None and spec.endpoints is not None:
        text = "only one of workloadSelector and endpoints may be set"
        report.error(SPEC, reasons.CONFLICTING_FIELDS, text)
    _check_hosts(spec, report)
    _check_addresses(spec, report)
    _check_ports(spec, report)
    unwanted = metadata.labels.get(AUTO_ALLOCATE, "").lower() == "false"
    if unwanted or spec.resolution is Resolution.NONE:  # no address is made up for it
        _warn_of_shared_ports(spec, report)
    check_resolution(resource, SPEC, report)
    _check_host_count(spec, report)
    check_export_to(spec.export_to, metadata.namespace, report, nobody=True)


def _check_hosts(spec: ServiceEntrySpec, report: Report) -> None:
    for index, host in enumerate(spec.hosts):
        place = ((SPEC, "hosts"), index)
        wrong = _WITHOUT_WILDCARD if host == "*" else wrong_pattern(host)
        if wrong:
            report.error(place, reasons.INVALID_HOST, wrong)
        elif _is_partial(host) and spec.resolution is not Resolution.DYNAMIC_DNS:
            text = f"{host[:100]!r}: '*' may only stand for whole labels, so nothing matches"
            report.warning(place, reasons.NO_EFFECT, text)


def _is_partial(host: str) -> bool:
    return host.startswith("*") and not host.startswith("*.")


def _check_addresses(spec: ServiceEntrySpec, report: Report) -> None:
    for index, address in enumerate(spec.addresses):
        place = ((SPEC, "addresses"), index)
        if not is_block(address):
            text = f"{address[:100]!r} is neither an IP address nor a block such as 10.0.0.0/8"
            report.error(place, reasons.INVALID_ADDRESS, text)
        elif "/" in address and spec.resolution not in {Resolution.NONE, Resolution.STATIC}:
            text = f"a block of addresses is only possible with NONE and STATIC, not {_of(spec)}"
            report.error(place, reasons.CONFLICTING_FIELDS, text)


def _of(spec: ServiceEntrySpec) -> str:
    return str(spec.resolution)


def _check_ports(spec: ServiceEntrySpec, report: Report) -> None:
    names: set[str] = set()
    numbers: set[int] = set()
    for index, port in enumerate(spec.ports):
        place = ((SPEC, "ports"), index)
        _check_port(port, place, report)
        if port.name in names:
            text = f"the name {port.name[:100]!r} is there twice"
            report.error((place, "name"), reasons.DUPLICATE_PORT, text)
        if port.number in numbers:
            text = f"the port {port.number} is there twice"
            report.error((place, "number"), reasons.DUPLICATE_PORT, text)
        names.add(port.name)
        numbers.add(port.number)


def _check_port(port: EntryPort, path: Path, report: Report) -> None:
    check_port(port.number, (path, "number"), report)
    check_protocol(port.protocol, (path, "protocol"), report)
    if port.target_port is not None:
        check_port(port.target_port, (path, "targetPort"), report)
    if not is_label(port.name):
        text = f"{port.name[:100]!r} is not a port's name: a DNS label"
        report.error((path, "name"), reasons.INVALID_NAME, text)


def _warn_of_shared_ports(spec: ServiceEntrySpec, report: Report) -> None:
    """Warn of TCP that only its port tells from other TCP; Istio's analyzer calls it IST0134."""
    if spec.addresses:
        return
    for index, port in enumerate(spec.ports):
        if port.protocol in {"", "TCP"}:
            text = "without addresses, this port takes the TCP of every host that nobody declared"
            place = (((SPEC, "ports"), index), "protocol")
            report.warning(place, reasons.ADDRESSES_REQUIRED, text)


def _check_host_count(spec: ServiceEntrySpec, report: Report) -> None:
    """Report several hosts that nothing in the traffic tells apart."""
    if len(spec.hosts) < 2 or spec.resolution is Resolution.NONE:
        return
    for index, port in enumerate(spec.ports):
        if not is_http(port.protocol) and not is_tls(port.protocol):
            text = f"nothing tells {len(spec.hosts)} hosts apart on a port that is not HTTP or TLS"
            place = (((SPEC, "ports"), index), "protocol")
            report.error(place, reasons.CONFLICTING_FIELDS, text)
            return
