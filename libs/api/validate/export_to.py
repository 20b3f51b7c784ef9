"""Rules about `exportTo`: `.` is the own namespace, `*` all of them, else one namespace's name."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.hosts import is_label

OWN = "."
EVERYWHERE = "*"
NOBODY = "~"


def check_export_to(
    export_to: Sequence[str],
    namespace: str,
    report: Report,
    *,
    selective: bool = False,
    nobody: bool = False,
) -> None:
    """Report entries that are repeated, wrong or contradict each other.

    `selective` resources have a workload selector, and so may not leave their namespace. `nobody`
    allows `~`: a host that no other workload sees, only those that are its endpoints.
    """
    place: Path = (((None, "spec")), "exportTo")
    seen: set[str] = set()
    for index, entry in enumerate(export_to):
        name = namespace if entry == OWN else entry
        if name in seen:
            text = f"{entry[:100]!r} is there twice; '.' is the own namespace"
            report.error((place, index), reasons.INVALID_EXPORT_TO, text)
        elif name != EVERYWHERE and not (nobody and name == NOBODY) and not is_label(name):
            text = f"{entry[:100]!r} is neither '.', '*' nor the name of a namespace"
            report.error((place, index), reasons.INVALID_EXPORT_TO, text)
        seen.add(name)
    if EVERYWHERE in seen and len(export_to) > 1:
        report.error(place, reasons.INVALID_EXPORT_TO, "'*' must stand alone")
    if nobody and NOBODY in seen and len(export_to) > 1:
        report.error(place, reasons.INVALID_EXPORT_TO, "'~' is nobody, and must stand alone")
    if selective and seen - {namespace}:
        text = "with a workloadSelector, only the own namespace '.' is possible"
        report.error(place, reasons.INVALID_EXPORT_TO, text)
