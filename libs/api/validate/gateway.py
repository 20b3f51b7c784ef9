"""Rules of a Gateway."""

from libs.api import reasons
from libs.api.networking.gateway import Gateway, Server, ServerPort
from libs.api.networking.server_tls import ServerTls, ServerTlsMode
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_label
from libs.api.validate.ports import check_port
from libs.api.validate.protocols import check_protocol, is_http, is_protocol, is_tls
from libs.api.validate.server_hosts import wrong_gateway_host
from libs.api.validate.server_tls import check_server_tls
from libs.api.validate.sockets import UNIX, check_bind

SPEC: Path = (None, "spec")
_PASSING = frozenset({ServerTlsMode.PASSTHROUGH, ServerTlsMode.AUTO_PASSTHROUGH})


def check(resource: Gateway, report: Report) -> None:
    """Report what is wrong with a Gateway."""
    name, spec = resource.metadata.name, resource.spec
    if not is_label(name):
        text = f"{name[:100]!r} is not a Gateway's name: a DNS label, without dots"
        report.error("metadata.name", reasons.INVALID_NAME, text)
    if not spec.servers:
        report.error((SPEC, "servers"), reasons.MISSING_FIELD, "needs one server at least")
    if not spec.selector:
        text = "without a selector it is for every gateway pod of the mesh"
        report.warning((SPEC, "selector"), reasons.EMPTY_SELECTOR, text)
    names: set[str] = set()
    for index, server in enumerate(spec.servers):
        place = ((SPEC, "servers"), index)
        _check_server(server, place, report)
        if server.port.name in names:
            text = f"the name {server.port.name[:100]!r} is there twice"
            report.error(((place, "port"), "name"), reasons.DUPLICATE_PORT, text)
        names.add(server.port.name)


def _check_server(server: Server, path: Path, report: Report) -> None:
    _check_port(server.port, server.bind, (path, "port"), report=report)
    if not server.hosts:
        report.error((path, "hosts"), reasons.MISSING_FIELD, "needs one host at least")
    for index, host in enumerate(server.hosts):
        if wrong := wrong_gateway_host(host):
            report.error(((path, "hosts"), index), reasons.INVALID_HOST, wrong)
    check_bind(server.bind, (path, "bind"), report)
    if server.default_endpoint:
        text = "Istio has this field, but never does anything with it"
        report.warning((path, "defaultEndpoint"), reasons.NO_EFFECT, text)
    check_server_tls(server.tls, (path, "tls"), report)
    if is_protocol(server.port.protocol):
        _check_protocol(server.port.protocol, server.tls, (path, "tls"), report=report)


def _check_port(port: ServerPort, bind: str, path: Path, *, report: Report) -> None:
    check_protocol(port.protocol, (path, "protocol"), report, required=True)
    if not bind.startswith(UNIX):
        check_port(port.number, (path, "number"), report)
    elif port.number:
        text = "a unix socket has no port: write 0"
        report.error((path, "number"), reasons.CONFLICTING_FIELDS, text)
    if port.target_port:
        text = "has no meaning at gateways: their Service has the port's target"
        report.error((path, "targetPort"), reasons.CONFLICTING_FIELDS, text)
    if not port.name:
        report.error((path, "name"), reasons.EMPTY_VALUE, "must not be empty")


def _check_protocol(protocol: str, tls: ServerTls | None, path: Path, *, report: Report) -> None:
    """Report TLS settings that are missing for a protocol, or do not go with it."""
    if tls is None:
        if is_tls(protocol):
            text = f"{protocol} needs TLS settings"
            report.error(path, reasons.MISSING_FIELD, text)
        return
    if tls.https_redirect and not is_http(protocol):
        text = f"only plain HTTP can be sent to HTTPS, and this is {protocol}"
        report.warning((path, "httpsRedirect"), reasons.NO_EFFECT, text)
    if is_tls(protocol):
        return
    files = (tls.ca_certificates, tls.private_key, tls.server_certificate)
    if not is_http(protocol):
        text = f"{protocol} has no TLS: write TLS or HTTPS"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    elif tls.mode not in _PASSING or any(files):
        text = f"{protocol} has no TLS but for httpsRedirect: write HTTPS"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
