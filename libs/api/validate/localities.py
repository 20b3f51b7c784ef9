"""Rules about balancing by locality, written `region`, `region/zone` or `region/zone/subzone`."""

from collections.abc import Iterable, Mapping, Sequence

from libs.api import reasons
from libs.api.networking.destination_rule import (
    Distribute,
    Failover,
    LocalityBalancing,
    ZoneAwareBalancing,
)
from libs.api.path import Path
from libs.api.report import Report

ANY = "*"
TOPOLOGY_LABELS = frozenset(
    {"topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"}
)


def check_localities(
    setting: LocalityBalancing | None, path: Path, report: Report, *, outlier: bool
) -> None:
    """Report shares that do not add up, and ways to fail over that contradict each other."""
    if setting is None:
        return
    if setting.distribute and setting.failover:
        text = "only one of distribute and failover may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if setting.failover and TOPOLOGY_LABELS.intersection(setting.failover_priority):
        text = "labels of the topology and failover exclude each other"
        report.error((path, "failoverPriority"), reasons.CONFLICTING_FIELDS, text)
    _check_distribute(setting.distribute, (path, "distribute"), report)
    _check_failover(setting, path, report, outlier=outlier)


def check_zones(
    setting: ZoneAwareBalancing | None, path: Path, report: Report, *, outlier: bool
) -> None:
    """Report labels that zone-aware balancing already accounts for, and wrong regions."""
    if setting is None:
        return
    if TOPOLOGY_LABELS.intersection(setting.failover_priority):
        text = "labels of the topology are already accounted for"
        report.error((path, "failoverPriority"), reasons.CONFLICTING_FIELDS, text)
    _check_failover(setting, path, report, outlier=outlier)


def _check_distribute(shares: Sequence[Distribute], path: Path, report: Report) -> None:
    for index, share in enumerate(shares):
        place = ((path, index), "to")
        weights = share.to.values()
        if not all(1 <= weight <= 100 for weight in weights) or sum(weights) != 100:
            text = f"shares must be 1 to 100, and 100 in all: these are {sum(weights)}"
            report.error(place, reasons.INVALID_WEIGHT, text)
        # A mapping has no order, so that each wildcard counts as the rest.
        check_disjoint(sorted(share.to, key=_width), place, report)
    check_disjoint([share.from_ for share in shares], path, report)


def _width(locality: str) -> tuple[bool, int]:
    return locality.endswith(ANY), -len(locality)


def check_disjoint(localities: Iterable[str], path: Path, report: Report) -> None:
    """Report localities that are misspelt, or part of one before.

    A wildcard may follow what it covers, as the rest; before it, it would leave nothing.
    """
    known: dict[str, dict[str, set[str]]] = {}
    for locality in localities:
        parts = locality.split("/", 2)
        if "" in parts or ANY in locality[:-1]:
            text = f"{locality[:100]!r} is not a locality; '*' may only be at its end"
            report.error(path, reasons.INVALID_LOCALITY, text)
        elif ANY in known or _is_known(parts, known):
            text = f"{locality[:100]!r} overlaps with another locality"
            report.error(path, reasons.INVALID_LOCALITY, text)
        else:
            _remember(parts, known)


def _is_known(parts: Sequence[str], known: Mapping[str, Mapping[str, set[str]]]) -> bool:
    zones = known.get(parts[0])
    if zones is None or len(parts) == 1:
        return zones is not None
    subzones = zones.get(parts[1])
    if len(parts) == 2:
        return subzones is not None or ANY in zones
    return subzones is not None and (ANY in subzones or parts[2] in subzones)


def _remember(parts: Sequence[str], known: dict[str, dict[str, set[str]]]) -> None:
    region, zone, subzone = (*parts, ANY, ANY)[:3]
    known.setdefault(region, {}).setdefault(zone, set()).add(subzone)


def _check_failover(
    setting: LocalityBalancing | ZoneAwareBalancing, path: Path, report: Report, *, outlier: bool
) -> None:
    if (setting.failover or setting.failover_priority) and not outlier:
        text = "without outlierDetection nothing fails, and only what is empty fails over"
        report.warning(path, reasons.NO_EFFECT, text)
    for index, failover in enumerate(setting.failover):
        _check_regions(failover, ((path, "failover"), index), report)


def _check_regions(failover: Failover, path: Path, report: Report) -> None:
    if failover.from_ == failover.to:
        report.error(path, reasons.INVALID_LOCALITY, "from and to must differ")
    for field, region in (("from", failover.from_), ("to", failover.to)):
        if "/" in region or ANY in region:
            text = f"{region[:100]!r} must be a region, without zone or '*'"
            report.error((path, field), reasons.INVALID_LOCALITY, text)
