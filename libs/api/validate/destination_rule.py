"""Rules of a DestinationRule."""

from libs.api import reasons
from libs.api.networking.destination_rule import DestinationRule
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.destinations import check_subset
from libs.api.validate.export_to import check_export_to
from libs.api.validate.hosts import check_pattern
from libs.api.validate.labels import check_labels, check_selector
from libs.api.validate.traffic_policy import check_traffic_policy

SPEC: Path = (None, "spec")


def check(resource: DestinationRule, report: Report) -> None:
    """Report what is wrong with a DestinationRule."""
    spec, namespace = resource.spec, resource.metadata.namespace
    selector = spec.workload_selector
    check_pattern(spec.host, (SPEC, "host"), report)
    check_traffic_policy(spec.traffic_policy, (SPEC, "trafficPolicy"), report, namespace=namespace)
    names: set[str] = set()
    for index, subset in enumerate(spec.subsets):
        place = ((SPEC, "subsets"), index)
        check_subset(subset.name, (place, "name"), report)
        if subset.name in names:
            text = f"the subset {subset.name[:100]!r} is there twice"
            report.error((place, "name"), reasons.DUPLICATE_SUBSET, text)
        names.add(subset.name)
        check_labels(subset.labels, (place, "labels"), report)
        where = (place, "trafficPolicy")
        check_traffic_policy(subset.traffic_policy, where, report, namespace=namespace)
    check_export_to(spec.export_to, namespace, report, selective=selector is not None)
    check_selector(selector, (SPEC, "workloadSelector"), report)
