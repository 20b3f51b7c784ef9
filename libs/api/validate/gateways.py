"""Rules about the names in `gateways`: `mesh`, `name`, `namespace/name`, or the old dotted form."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_label, wrong_name

MESH = "mesh"


def check_gateways(gateways: Sequence[str], path: Path, report: Report) -> None:
    """Report names that cannot be a Gateway's."""
    for index, gateway in enumerate(gateways):
        _check_gateway(gateway, ((path, "gateways"), index), report)


def _check_gateway(gateway: str, path: Path, report: Report) -> None:
    namespace, slash, name = gateway.partition("/")
    if slash:
        if not is_label(namespace) or not is_label(name):
            text = f"{gateway[:100]!r} is not of the form namespace/name"
            report.error(path, reasons.INVALID_GATEWAY, text)
        return
    if wrong := wrong_name(gateway):
        report.error(path, reasons.INVALID_GATEWAY, wrong)
    elif "." in gateway.rstrip("."):
        name, namespace = gateway.split(".")[:2]
        text = f"the dotted form is deprecated: write {namespace}/{name}"
        report.warning(path, reasons.DEPRECATED, text)
