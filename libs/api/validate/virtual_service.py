"""Rules of a VirtualService: those of its own; its routes are judged in files of their own."""

from libs.api import reasons
from libs.api.networking.virtual_service import VirtualService, VirtualServiceSpec
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.export_to import check_export_to
from libs.api.validate.gateways import MESH, check_gateways
from libs.api.validate.hosts import Cover, is_address, overlapping, wrong_pattern
from libs.api.validate.http_routes import check_http_route
from libs.api.validate.reachability import check_reachability
from libs.api.validate.stream_routes import (
    GENERATED_SNI,
    check_tcp_route,
    check_tls_route,
    wrong_generated,
)

SPEC: Path = (None, "spec")


def check(resource: VirtualService, report: Report) -> None:
    """Report what is wrong with a VirtualService."""
    spec = resource.spec
    check_gateways(spec.gateways, SPEC, report)
    if spec.hosts:
        _check_hosts(spec, report)
    else:
        _check_delegate(spec, report)
    if not (spec.http or spec.tls or spec.tcp):
        report.error(SPEC, reasons.MISSING_FIELD, "needs one of http, tls and tcp")
    _check_routes(spec, report)
    check_export_to(spec.export_to, resource.metadata.namespace, report)
    check_reachability(spec, report)


def _at_gateway(spec: VirtualServiceSpec) -> bool:
    """Tell whether it is for gateways alone; without any names it is for sidecars."""
    return bool(spec.gateways) and MESH not in spec.gateways


def _check_delegate(spec: VirtualServiceSpec, report: Report) -> None:
    for field, value in (("gateways", spec.gateways), ("tls", spec.tls), ("tcp", spec.tcp)):
        if value:
            text = "without hosts it is a delegate, and those have http routes only"
            report.error((SPEC, field), reasons.CONFLICTING_FIELDS, text)


def _check_hosts(spec: VirtualServiceSpec, report: Report) -> None:
    at_gateway, valid = _at_gateway(spec), True
    sni = at_gateway and any(match.sni_hosts for route in spec.tls for match in route.match)
    for index, host in enumerate(spec.hosts):
        place = ((SPEC, "hosts"), index)
        generated = sni and host.startswith(GENERATED_SNI)
        wrong = wrong_generated(host) if generated else wrong_pattern(host)
        if host == "*" and not at_gateway:
            wrong = "sidecars need a host; '*' is for gateways alone"
        if wrong and not is_address(host):
            report.error(place, reasons.INVALID_HOST, wrong)
            valid = False
    for index in overlapping(spec.hosts) if valid else ():
        text = f"{spec.hosts[index]!r} is already covered by another of the hosts"
        report.error(((SPEC, "hosts"), index), reasons.DUPLICATE_HOST, text)


def _check_routes(spec: VirtualServiceSpec, report: Report) -> None:
    at_gateway, hosts = _at_gateway(spec), Cover(spec.hosts)
    delegate, sidecars = not spec.hosts, MESH in spec.gateways
    for index, http in enumerate(spec.http):
        place = ((SPEC, "http"), index)
        check_http_route(http, place, report, delegate=delegate, at_gateway=at_gateway)
    for index, tls in enumerate(spec.tls):
        place = ((SPEC, "tls"), index)
        check_tls_route(tls, place, report, hosts=hosts, generated=not sidecars)
    for index, tcp in enumerate(spec.tcp):
        check_tcp_route(tcp, ((SPEC, "tcp"), index), report)
