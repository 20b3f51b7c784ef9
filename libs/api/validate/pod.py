"""Rules of a Pod, as far as an API server would have checked what the mesh relies on."""

from libs.api import reasons
from libs.api.kubernetes import Container, Pod
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_address
from libs.api.validate.ports import check_port
from libs.api.validate.proxy_defaults import check_annotation


def check(resource: Pod, report: Report) -> None:
    """Report ports and addresses that cannot be, and settings of its proxy."""
    check_annotation(resource.metadata.annotations, report)
    spec, status = resource.spec, (None, "status")
    for field, containers in (
        ("containers", spec.containers),
        ("initContainers", spec.init_containers),
    ):
        for index, container in enumerate(containers):
            _check_ports(container, (((None, "spec"), field), index), report)
    if resource.status.pod_ip and not is_address(resource.status.pod_ip):
        _report_address(resource.status.pod_ip, (status, "podIP"), report)
    for index, address in enumerate(resource.status.pod_ips):
        if not is_address(address.ip):
            _report_address(address.ip, (((status, "podIPs"), index), "ip"), report)


def _check_ports(container: Container, path: Path, report: Report) -> None:
    for index, port in enumerate(container.ports):
        check_port(port.container_port, (((path, "ports"), index), "containerPort"), report)


def _report_address(address: str, path: Path, report: Report) -> None:
    report.error(path, reasons.INVALID_ADDRESS, f"{address[:100]!r} is not an IP address")
