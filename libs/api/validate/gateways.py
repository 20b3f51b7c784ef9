"""Rules about the names in `gateways`: `mesh`, `name`, `namespace/name`, or the old dotted form."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_label, wrong_name

MESH = "mesh"


def check_gateways(gateways: Sequence[str], path: Path, report: Report) -> None:
    """Report names that cannot be a Gateway's.

    Istio stops looking at the first name without a namespace, such as `mesh`. What is wrong after
    that must be accepted, and is only warned of: it names nothing.
    """
    refuse = report.error
    for index, gateway in enumerate(gateways):
        place = ((path, "gateways"), index)
        if wrong := _wrong_gateway(gateway):
            refuse(place, reasons.INVALID_GATEWAY, wrong)
        else:
            _warn_of_dots(gateway, place, report)
        if "/" not in gateway:
            refuse = report.warning


def _wrong_gateway(gateway: str) -> str:
    namespace, slash, name = gateway.partition("/")
    if not slash:
        return wrong_name(gateway)
    if is_label(namespace) and is_label(name):
        return ""
    return f"{gateway[:100]!r} is not of the form namespace/name"


def _warn_of_dots(gateway: str, path: Path, report: Report) -> None:
    if "." in gateway.rstrip("."):
        name, namespace = gateway.split(".")[:2]
        text = f"the dotted form is deprecated: write {namespace}/{name}"
        report.warning(path, reasons.DEPRECATED, text)
