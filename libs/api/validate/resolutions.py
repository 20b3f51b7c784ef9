"""Rules about what each resolution of a ServiceEntry needs, and what it cannot have."""

from libs.api import reasons
from libs.api.networking.service_entry import Location, Resolution, ServiceEntry, ServiceEntrySpec
from libs.api.networking.workload_entry import WorkloadEntrySpec
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_address, wrong_name
from libs.api.validate.labels import check_labels
from libs.api.validate.protocols import is_stream
from libs.api.validate.sockets import UNIX
from libs.api.validate.workload_entry import check_name, check_ports, check_reach

USE_WAYPOINT = "istio.io/use-waypoint"
DYNAMIC_PROTOCOLS = frozenset({"http", "http2", "grpc", "tls"})
_DNS = frozenset({Resolution.DNS, Resolution.DNS_ROUND_ROBIN})


def check_resolution(resource: ServiceEntry, path: Path, report: Report) -> None:
    """Report what does not go with the resolution of a ServiceEntry."""
    spec = resource.spec
    if spec.resolution is Resolution.NONE:
        _check_none(spec, path, report)
    elif spec.resolution is Resolution.STATIC:
        for index, endpoint in enumerate(spec.endpoints or ()):
            _check_static(endpoint, ((path, "endpoints"), index), report, of=spec)
    elif spec.resolution in _DNS:
        _check_dns(spec, path, report)
    else:
        _check_dynamic(spec, path, report)
        waypoint = resource.metadata.labels.get(USE_WAYPOINT, "none").lower()
        if spec.location is Location.MESH_INTERNAL and waypoint not in {"", "none"}:
            text = "with DYNAMIC_DNS, a host behind a waypoint must be MESH_EXTERNAL"
            report.error((path, "location"), reasons.CONFLICTING_FIELDS, text)


def _check_none(spec: ServiceEntrySpec, path: Path, report: Report) -> None:
    if spec.endpoints is not None:
        text = "with NONE, traffic goes where the client sent it: endpoints have no place here"
        report.error((path, "endpoints"), reasons.CONFLICTING_FIELDS, text)
    if spec.workload_selector is not None:
        text = "with NONE, traffic goes where the client sent it, whoever is selected"
        report.warning((path, "workloadSelector"), reasons.NO_EFFECT, text)


def _check_static(
    endpoint: WorkloadEntrySpec, path: Path, report: Report, *, of: ServiceEntrySpec
) -> None:
    check_reach(endpoint, path, report)
    is_socket = endpoint.address.startswith(UNIX)
    if endpoint.address and not is_socket and not is_address(endpoint.address):
        text = f"{endpoint.address[:100]!r} is not an IP address; resolution: DNS takes names"
        report.error((path, "address"), reasons.INVALID_ADDRESS, text)
    if is_socket and len(of.ports) != 1:
        text = "behind a unix socket, the service has exactly one port"
        report.error((path, "address"), reasons.CONFLICTING_FIELDS, text)
    _check_endpoint(endpoint, path, report, of=of)


def _check_endpoint(
    endpoint: WorkloadEntrySpec, path: Path, report: Report, *, of: ServiceEntrySpec
) -> None:
    check_labels(endpoint.labels, (path, "labels"), report)
    check_ports(endpoint, path, report)
    names = {port.name for port in of.ports}
    for name in endpoint.ports:
        if name not in names:
            text = f"the service has no port named {name[:100]!r}"
            report.error(((path, "ports"), name), reasons.PORT_NOT_FOUND, text)


def _check_dns(spec: ServiceEntrySpec, path: Path, report: Report) -> None:
    endpoints = spec.endpoints or ()
    if not endpoints:
        _check_names(spec, path, report)
    if spec.resolution is Resolution.DNS_ROUND_ROBIN and len(endpoints) > 1:
        text = "DNS_ROUND_ROBIN asks for one name, so there is one endpoint at most"
        report.error((path, "endpoints"), reasons.CONFLICTING_FIELDS, text)
    for index, endpoint in enumerate(endpoints):
        place = ((path, "endpoints"), index)
        if not endpoint.address:
            text = "needs an address: nothing else can be asked of DNS"
            report.error((place, "address"), reasons.MISSING_FIELD, text)
        else:
            check_name(endpoint.address, (place, "address"), report)
        _check_endpoint(endpoint, place, report, of=spec)
    if spec.addresses and len(spec.hosts) > 1 and any(is_stream(it.protocol) for it in spec.ports):
        text = "several hosts share the addresses, and TCP does not tell them apart"
        report.warning((path, "hosts"), reasons.NO_EFFECT, text)


def _check_names(spec: ServiceEntrySpec, path: Path, report: Report) -> None:
    for index, host in enumerate(spec.hosts):
        if host.startswith("*"):
            text = f"{host[:100]!r} cannot be asked of DNS: name endpoints, or use DYNAMIC_DNS"
            report.error(((path, "hosts"), index), reasons.INVALID_HOST, text)
        elif wrong := wrong_name(host):
            report.error(((path, "hosts"), index), reasons.INVALID_HOST, wrong)


def _check_dynamic(spec: ServiceEntrySpec, path: Path, report: Report) -> None:
    for index, host in enumerate(spec.hosts):
        if not host.startswith("*"):
            text = f"{host[:100]!r} is one host, which resolution: DNS is for"
            report.error(((path, "hosts"), index), reasons.INVALID_HOST, text)
    for field, value in (("addresses", spec.addresses), ("endpoints", spec.endpoints)):
        if value:
            text = f"with DYNAMIC_DNS the name of a request decides: {field} have no place here"
            report.error((path, field), reasons.CONFLICTING_FIELDS, text)
    for index, port in enumerate(spec.ports):
        if port.protocol.lower() not in DYNAMIC_PROTOCOLS:
            text = "DYNAMIC_DNS reads the name from HTTP, HTTP2, GRPC or TLS"
            place = (((path, "ports"), index), "protocol")
            report.error(place, reasons.INVALID_PROTOCOL, text)
