"""Rules of a Sidecar; its listeners are judged in `sidecar_listeners`."""

from libs.api import reasons
from libs.api.networking.sidecar import OutboundMode, OutboundTrafficPolicy, Sidecar
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.connection_pool import check_connection_pool
from libs.api.validate.destinations import check_destination
from libs.api.validate.hosts import wrong_name
from libs.api.validate.labels import check_workload_labels
from libs.api.validate.sidecar_listeners import check_egress, check_ingress

SPEC: Path = (None, "spec")


def check(resource: Sidecar, report: Report) -> None:
    """Report what is wrong with a Sidecar."""
    spec = resource.spec
    policy, pool = spec.outbound_traffic_policy, spec.inbound_connection_pool
    check_workload_labels(spec.workload_selector, (SPEC, "workloadSelector"), report)
    if not spec.egress and not spec.ingress and policy is None and pool is None:
        text = "needs one of ingress, egress, outboundTrafficPolicy and inboundConnectionPool"
        report.error(SPEC, reasons.MISSING_FIELD, text)
    check_ingress(spec.ingress, (SPEC, "ingress"), report)
    check_connection_pool(pool, (SPEC, "inboundConnectionPool"), report)
    check_egress(spec.egress, (SPEC, "egress"), report, namespace=resource.metadata.namespace)
    if policy:
        _check_policy(policy, (SPEC, "outboundTrafficPolicy"), report)


def _check_policy(policy: OutboundTrafficPolicy, path: Path, report: Report) -> None:
    proxy = policy.egress_proxy
    if proxy is None:
        return
    path = (path, "egressProxy")
    if policy.mode is not OutboundMode.ALLOW_ANY:
        text = "needs mode: ALLOW_ANY; otherwise nothing is let through to it"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
        return
    if proxy.port is None:
        report.error((path, "port"), reasons.MISSING_FIELD, "port is required")
    if wrong := wrong_name(proxy.host):
        report.error((path, "host"), reasons.INVALID_HOST, wrong)
    else:
        check_destination(proxy, path, report)
