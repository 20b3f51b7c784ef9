"""Rules of a PeerAuthentication."""

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.security.peer_authentication import PeerAuthentication
from libs.api.validate.labels import check_selector
from libs.api.validate.ports import check_port

SPEC: Path = (None, "spec")


def check(resource: PeerAuthentication, report: Report) -> None:
    """Report what is wrong with a PeerAuthentication."""
    spec = resource.spec
    ports: Path = (SPEC, "portLevelMtls")
    check_selector(spec.selector, (SPEC, "selector"), report)
    if spec.port_level_mtls and not (spec.selector and spec.selector.match_labels):
        text = "ports belong to workloads, so a selector with labels is required"
        report.error(ports, reasons.MISSING_FIELD, text)
    for port in spec.port_level_mtls:
        check_port(port, (ports, str(port)), report)
