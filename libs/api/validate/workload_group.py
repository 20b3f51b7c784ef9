"""Rules of a WorkloadGroup."""

import re

from libs.api import reasons
from libs.api.networking.workload_group import HttpProbe, ReadinessProbe, WorkloadGroup
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.labels import check_labels
from libs.api.validate.ports import check_port
from libs.api.validate.workload_entry import check_ports, check_socket

SPEC: Path = (None, "spec")
SCHEMES = frozenset({"", "HTTP", "HTTPS"})
_HEADER = re.compile(r"[-A-Za-z0-9]+")


def check(resource: WorkloadGroup, report: Report) -> None:
    """Report what is wrong with a WorkloadGroup; its template needs no address."""
    spec = resource.spec
    template: Path = (SPEC, "template")
    check_socket(spec.template, template, report)
    check_ports(spec.template, template, report)
    if spec.metadata:
        check_labels(spec.metadata.labels, ((SPEC, "metadata"), "labels"), report)
    if spec.probe:
        check_probe(spec.probe, (SPEC, "probe"), report)


def check_probe(probe: ReadinessProbe, path: Path, report: Report) -> None:
    """Report a probe that asks in no way, in several, or in a wrong one."""
    ways = (probe.http_get, probe.tcp_socket, probe.exec, probe.grpc)
    if sum(way is not None for way in ways) != 1:
        text = "needs exactly one of httpGet, tcpSocket, exec and grpc"
        report.error(path, reasons.INVALID_PROBE, text)
    if probe.http_get:
        _check_http(probe.http_get, (path, "httpGet"), report)
    if probe.tcp_socket:
        check_port(probe.tcp_socket.port, ((path, "tcpSocket"), "port"), report)
    if probe.exec and not probe.exec.command:
        text = "needs a program at least"
        report.error(((path, "exec"), "command"), reasons.EMPTY_VALUE, text)
    if probe.grpc and probe.grpc.port is not None:
        check_port(probe.grpc.port, ((path, "grpc"), "port"), report)


def _check_http(probe: HttpProbe, path: Path, report: Report) -> None:
    check_port(probe.port, (path, "port"), report)
    if probe.scheme not in SCHEMES:
        report.error((path, "scheme"), reasons.INVALID_CHOICE, "must be HTTP or HTTPS")
    for index, header in enumerate(probe.http_headers):
        if not _HEADER.fullmatch(header.name):
            text = f"{header.name[:100]!r} is not a header's name"
            place = (((path, "httpHeaders"), index), "name")
            report.error(place, reasons.INVALID_HEADER, text)
