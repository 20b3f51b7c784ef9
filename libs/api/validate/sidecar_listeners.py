"""Rules about the listeners of a Sidecar."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.networking.server_tls import ServerTls, ServerTlsMode
from libs.api.networking.sidecar import CaptureMode, EgressListener, IngressListener, SidecarPort
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.connection_pool import check_connection_pool
from libs.api.validate.hosts import is_address, is_label
from libs.api.validate.ports import MAX_PORT, check_port
from libs.api.validate.protocols import check_protocol, is_http, is_tls
from libs.api.validate.server_hosts import EXCLUDE, wrong_egress_host
from libs.api.validate.server_tls import check_server_tls
from libs.api.validate.sockets import UNIX, wrong_socket

ENDPOINT_HOSTS = frozenset({"", "127.0.0.1", "0.0.0.0", "::1", "::"})  # noqa: S104 - not bound
"""Where an ingress listener may send traffic on: localhost, or the workload's own address."""

ANY = "*"
_NOT_HERE = frozenset({ServerTlsMode.ISTIO_MUTUAL, ServerTlsMode.AUTO_PASSTHROUGH})


def check_ingress(listeners: Sequence[IngressListener], path: Path, report: Report) -> None:
    """Report what is wrong with the listeners for traffic to a workload."""
    numbers: set[int] = set()
    for index, listener in enumerate(listeners):
        place, port = (path, index), listener.port
        check_port(port.number, ((place, "port"), "number"), report)
        _check_port(port, (place, "port"), report)
        _check_unique(port.number, numbers, (place, "port"), report=report)
        if listener.bind and not is_address(listener.bind):
            text = f"{listener.bind[:100]!r} is not an IP address"
            report.error((place, "bind"), reasons.INVALID_ADDRESS, text)
        if wrong := wrong_endpoint(listener.default_endpoint):
            report.error((place, "defaultEndpoint"), reasons.INVALID_ADDRESS, wrong)
        if listener.tls:
            _check_tls(listener.tls, port.protocol, (place, "tls"), report=report)
        _check_pool(listener, place, report)


def wrong_endpoint(endpoint: str) -> str:
    """Return what is wrong with the endpoint of an ingress listener, or an empty text."""
    if not endpoint:
        return ""
    if endpoint.startswith(UNIX):
        return wrong_socket(endpoint)
    host, colon, port = endpoint.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not colon or (":" in bare) != (bare != host) or bare not in ENDPOINT_HOSTS:
        forms = "127.0.0.1:port, 0.0.0.0:port, [::1]:port, [::]:port, or unix:// and a path"
        return f"{endpoint[:100]!r} must be {forms}"
    number = port.removeprefix("+")
    is_number = number.isascii() and number.isdigit() and len(number) <= 10
    if not is_number or not 1 <= int(number) <= MAX_PORT:
        return f"{port[:100]!r} is not a port: 1 to {MAX_PORT}"
    return ""


def check_egress(
    listeners: Sequence[EgressListener], path: Path, report: Report, *, namespace: str
) -> None:
    """Report what is wrong with the listeners for traffic of a workload."""
    numbers: set[int] = set()
    sockets: set[str] = set()
    for index, listener in enumerate(listeners):
        place = (path, index)
        if listener.port is None:
            if index < len(listeners) - 1:
                text = "without a port it takes all that is left, so it must be the last"
                report.error(place, reasons.CONFLICTING_FIELDS, text)
            _check_rest(listener, place, report)
        else:
            _check_place(listener, listener.port, place, report=report)
            if listener.port.number:
                _check_unique(listener.port.number, numbers, (place, "port"), report=report)
            elif listener.bind in sockets:
                text = f"{listener.bind[:100]!r} is there twice"
                report.error((place, "bind"), reasons.DUPLICATE_PORT, text)
            else:
                sockets.add(listener.bind)
        _check_hosts(listener.hosts, (place, "hosts"), report, namespace=namespace)


def _check_rest(listener: EgressListener, path: Path, report: Report) -> None:
    """Warn of an address that a listener for all that is left is not bound to."""
    if not listener.bind or binds_rest(listener):
        return
    text = "has no effect without a port, unless it is an IP address, with captureMode: NONE"
    report.warning((path, "bind"), reasons.NO_EFFECT, text)


def binds_rest(listener: EgressListener) -> bool:
    """Tell whether a listener without a port is bound to the address that it names."""
    return listener.capture_mode is CaptureMode.NONE and is_address(listener.bind)


def _check_unique(number: int, seen: set[int], path: Path, *, report: Report) -> None:
    if number in seen:
        text = f"the port {number} is there twice"
        report.error((path, "number"), reasons.DUPLICATE_PORT, text)
    seen.add(number)


def _check_port(port: SidecarPort, path: Path, report: Report) -> None:
    check_protocol(port.protocol, (path, "protocol"), report)
    if port.name and not is_label(port.name):
        text = f"{port.name[:100]!r} is not a port's name: a DNS label"
        report.error((path, "name"), reasons.INVALID_NAME, text)
    if port.target_port:
        text = "has no meaning in a Sidecar"
        report.error((path, "targetPort"), reasons.CONFLICTING_FIELDS, text)


def _check_place(
    listener: EgressListener, port: SidecarPort, path: Path, *, report: Report
) -> None:
    """Report a port, and what it is bound to, that do not go together."""
    bind = (path, "bind")
    _check_port(port, (path, "port"), report)
    if port.number:
        check_port(port.number, ((path, "port"), "number"), report)
        if listener.bind and not is_address(listener.bind):
            text = f"{listener.bind[:100]!r} is not an IP address; a unix socket has port 0"
            report.error(bind, reasons.INVALID_ADDRESS, text)
        return
    if not listener.bind.startswith(UNIX):
        report.error(bind, reasons.MISSING_FIELD, "without a port, it needs unix:// and a path")
    elif wrong := wrong_socket(listener.bind):
        report.error(bind, reasons.INVALID_ADDRESS, wrong)
    if listener.capture_mode is CaptureMode.IPTABLES:
        text = "interception never leads to a unix socket"
        report.error((path, "captureMode"), reasons.CONFLICTING_FIELDS, text)


def _check_tls(tls: ServerTls, protocol: str, path: Path, *, report: Report) -> None:
    given = (
        ("subjectAltNames", tls.subject_alt_names),
        ("httpsRedirect", tls.https_redirect),
        ("credentialName", tls.credential_name),
        ("credentialNames", tls.credential_names),
        ("tlsCertificates", tls.tls_certificates),
    )
    for field, value in given:
        if value:
            text = f"{field} is for gateways only"
            report.error((path, field), reasons.CONFLICTING_FIELDS, text)
    if tls.mode in _NOT_HERE:
        report.error((path, "mode"), reasons.CONFLICTING_FIELDS, f"{tls.mode} is for gateways only")
    if not is_tls(protocol):
        text = f"a port of protocol {protocol[:100]!r} has no TLS: write TLS or HTTPS"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    check_server_tls(tls, path, report)


def _check_pool(listener: IngressListener, path: Path, report: Report) -> None:
    pool = listener.connection_pool
    check_connection_pool(pool, (path, "connectionPool"), report)
    if pool and pool.http and not is_http(listener.port.protocol):
        text = f"a port of protocol {listener.port.protocol[:100]!r} has no requests to limit"
        report.warning(((path, "connectionPool"), "http"), reasons.NO_EFFECT, text)


def _check_hosts(hosts: Sequence[str], path: Path, report: Report, *, namespace: str) -> None:
    if not hosts:
        report.error(path, reasons.MISSING_FIELD, "needs one host at least")
    seen: dict[str, set[str]] = {}
    for index, host in enumerate(hosts):
        if wrong := wrong_egress_host(host):
            report.error((path, index), reasons.INVALID_HOST, wrong)
            continue
        owner, _, name = host.partition("/")
        if owner.startswith(EXCLUDE):
            continue
        names = seen.setdefault(namespace if owner == "." else owner, set())
        if name in names or ANY in names or (name == ANY and names):
            text = f"{host[:100]!r} says what another host of the list says already"
            report.warning((path, index), reasons.DUPLICATE_HOST, text)
        names.add(name)
    if ANY in seen.get(ANY, ()) and len(seen) > 1:
        text = "'*/*' is every host, so the others change nothing"
        report.warning(path, reasons.DUPLICATE_HOST, text)
