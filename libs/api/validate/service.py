"""Rules of a Service, as far as an API server would have checked what the mesh relies on."""

from libs.api import reasons
from libs.api.kubernetes import HEADLESS, Service, ServicePort, ServiceType
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_address, is_label, wrong_name
from libs.api.validate.labels import check_labels
from libs.api.validate.ports import check_port

SPEC: Path = (None, "spec")


def check(resource: Service, report: Report) -> None:
    """Report what is wrong with a Service."""
    spec = resource.spec
    check_labels(spec.selector, (SPEC, "selector"), report)
    if spec.type is ServiceType.EXTERNAL_NAME:
        _check_external(resource, report)
    elif not spec.ports and spec.cluster_ip != HEADLESS:
        report.error((SPEC, "ports"), reasons.MISSING_FIELD, "needs one port at least")
    if spec.cluster_ip not in {"", HEADLESS} and not is_address(spec.cluster_ip):
        text = f"{spec.cluster_ip[:100]!r} is not an IP address"
        report.error((SPEC, "clusterIP"), reasons.INVALID_ADDRESS, text)
    for index, address in enumerate(spec.cluster_ips):
        if address not in {"", HEADLESS} and not is_address(address):
            text = f"{address[:100]!r} is not an IP address"
            report.error(((SPEC, "clusterIPs"), index), reasons.INVALID_ADDRESS, text)
    _check_ports(spec.ports, (SPEC, "ports"), report)


def _check_external(resource: Service, report: Report) -> None:
    place, name = (SPEC, "externalName"), resource.spec.external_name
    if not name:
        report.error(place, reasons.MISSING_FIELD, "is required for type ExternalName")
    elif not is_address(name) and (wrong := wrong_name(name)):  # Kubernetes takes 1.2.3.4 too
        report.error(place, reasons.INVALID_HOST, wrong)


def _check_ports(ports: tuple[ServicePort, ...], path: Path, report: Report) -> None:
    names: set[str] = set()
    numbers: set[tuple[int, str]] = set()
    for index, port in enumerate(ports):
        place = (path, index)
        check_port(port.port, (place, "port"), report)
        if port.node_port:
            check_port(port.node_port, (place, "nodePort"), report)
        _check_target(port.target_port, (place, "targetPort"), report)
        if len(ports) > 1 and not is_label(port.name):
            text = "of several ports, each needs a name that is a DNS label"
            report.error((place, "name"), reasons.INVALID_NAME, text)
        elif port.name and port.name in names:
            text = f"the name {port.name[:100]!r} is there twice"
            report.error((place, "name"), reasons.DUPLICATE_PORT, text)
        if (port.port, port.protocol) in numbers:
            text = f"the port {port.port}/{port.protocol} is there twice"
            report.error((place, "port"), reasons.DUPLICATE_PORT, text)
        names.add(port.name)
        numbers.add((port.port, port.protocol))


def _check_target(target: int | str, path: Path, report: Report) -> None:
    if isinstance(target, int):
        if target:
            check_port(target, path, report)
    elif not is_label(target):
        text = f"{target[:100]!r} is neither a port nor the name of one"
        report.error(path, reasons.INVALID_PORT, text)
