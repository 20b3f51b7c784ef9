"""Rules of an Ingress, as far as an API server would have checked what the mesh relies on.

Most Ingresses are some other controller's; only those of the mesh's own class are warned of.
"""

from libs.api import reasons
from libs.api.ingress import CLASS, Backend, Ingress, IngressPath, PathType
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_address, wrong_pattern
from libs.api.validate.ports import check_port

SPEC: Path = (None, "spec")


def check(resource: Ingress, report: Report) -> None:
    """Report what is wrong with an Ingress."""
    spec = resource.spec
    if resource.class_name == CLASS:
        _warn(resource, report)
    if spec.default_backend:
        _check_backend(spec.default_backend, (SPEC, "defaultBackend"), report)
    for index, rule in enumerate(spec.rules):
        place = ((SPEC, "rules"), index)
        _check_host(rule.host, (place, "host"), report)
        for at, path in enumerate(rule.http.paths if rule.http else ()):
            _check_path(path, (((place, "http"), "paths"), at), report)
    for index, tls in enumerate(spec.tls):
        for at, host in enumerate(tls.hosts):
            _check_host(host, ((((SPEC, "tls"), index), "hosts"), at), report)


def _warn(resource: Ingress, report: Report) -> None:
    if resource.spec.default_backend:
        text = "is left out, as Istio does: write a rule without host"
        report.warning((SPEC, "defaultBackend"), reasons.NO_EFFECT, text)
    for index, tls in enumerate(resource.spec.tls):
        if not tls.secret_name:
            text = "without a Secret there is no certificate, and so no TLS"
            report.warning(((SPEC, "tls"), index), reasons.NO_EFFECT, text)


def _check_host(host: str, path: Path, report: Report) -> None:
    if not host:
        return
    wrong = "must be a name, not an address" if is_address(host) else wrong_pattern(host)
    if not wrong and "*" in host and not host.startswith("*."):
        wrong = f"{host[:100]!r}: '*' may only stand for the first label"
    if wrong:
        report.error(path, reasons.INVALID_HOST, wrong)


def _check_path(path: IngressPath, place: Path, report: Report) -> None:
    if path.path_type is not PathType.IMPLEMENTATION_SPECIFIC and not path.path.startswith("/"):
        text = f"a path of type {path.path_type} must begin with a slash"
        report.error((place, "path"), reasons.INVALID_VALUE, text)
    elif any(sign in path.path for sign in "?#"):
        report.error((place, "path"), reasons.INVALID_VALUE, "a path has neither ? nor #")
    _check_backend(path.backend, (place, "backend"), report)


def _check_backend(backend: Backend, path: Path, report: Report) -> None:
    if (backend.service is None) == (backend.resource is None):
        text = "needs exactly one of service and resource"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if backend.service is None:
        return
    port, path = backend.service.port, ((path, "service"), "port")
    if bool(port.number) == bool(port.name):
        text = "needs exactly one of number and name"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    elif port.number:
        check_port(port.number, (path, "number"), report)
