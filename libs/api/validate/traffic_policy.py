"""Rules about traffic policies, of a host, a subset or a port."""

from libs.api import reasons
from libs.api.networking.destination_rule import (
    ClientTls,
    OutlierDetection,
    PortTrafficPolicy,
    TrafficPolicy,
    Tunnel,
)
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.client_tls import check_client_tls
from libs.api.validate.connection_pool import check_connection_pool
from libs.api.validate.durations import check_duration, check_idle_timeout, check_percent
from libs.api.validate.hosts import is_address, wrong_name
from libs.api.validate.load_balancer import check_load_balancer
from libs.api.validate.ports import MAX_PORT, check_port

TUNNEL_METHODS = frozenset({"", "CONNECT", "POST"})


def check_traffic_policy(
    policy: TrafficPolicy | None, path: Path, report: Report, *, namespace: str
) -> None:
    """Report what is wrong with a policy; `namespace` is its rule's."""
    if policy is None:
        return
    if policy == TrafficPolicy():
        report.error(path, reasons.MISSING_FIELD, "a traffic policy must say something")
    if policy.tunnel and policy.proxy_protocol:
        text = "tunnel and proxyProtocol exclude each other"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    _check_settings(policy, path, report, namespace=namespace)
    for index, port in enumerate(policy.port_level_settings):
        place = ((path, "portLevelSettings"), index)
        _check_port_policy(port, place, report, namespace=namespace)
    if policy.retry_budget:
        budget = (path, "retryBudget")
        interval = policy.retry_budget.budget_interval
        check_idle_timeout(interval, (budget, "budgetInterval"), report)
    if policy.tunnel:
        _check_tunnel(policy.tunnel, (path, "tunnel"), report)


def _check_settings(
    policy: TrafficPolicy | PortTrafficPolicy, path: Path, report: Report, *, namespace: str
) -> None:
    outlier = policy.outlier_detection
    check_connection_pool(policy.connection_pool, (path, "connectionPool"), report)
    where = (path, "loadBalancer")
    check_load_balancer(policy.load_balancer, where, report, outlier=outlier is not None)
    _check_tls(policy.tls, (path, "tls"), report, namespace=namespace)
    if outlier:
        check_outliers(outlier, (path, "outlierDetection"), report)


def _check_tls(tls: ClientTls | None, path: Path, report: Report, *, namespace: str) -> None:
    if tls is not None:
        check_client_tls(tls, path, report, namespace=namespace)


def _check_port_policy(
    policy: PortTrafficPolicy, path: Path, report: Report, *, namespace: str
) -> None:
    if policy.port is None:
        report.error((path, "port"), reasons.MISSING_FIELD, "port is required")
    elif not 1 <= policy.port.number <= MAX_PORT:
        text = f"{policy.port.number} is not a port, so the policy is never used"
        report.warning(((path, "port"), "number"), reasons.NO_EFFECT, text)
    if policy == PortTrafficPolicy(port=policy.port):
        report.error(path, reasons.MISSING_FIELD, "a traffic policy must say something")
    _check_settings(policy, path, report, namespace=namespace)


def check_outliers(outlier: OutlierDetection, path: Path, report: Report) -> None:
    """Report shares and durations that there cannot be."""
    check_duration(outlier.interval, (path, "interval"), report)
    check_duration(outlier.base_ejection_time, (path, "baseEjectionTime"), report)
    check_percent(outlier.max_ejection_percent, (path, "maxEjectionPercent"), report)
    check_percent(outlier.min_health_percent, (path, "minHealthPercent"), report)
    if outlier.consecutive_errors:
        text = "deprecated: write consecutive5xxErrors or consecutiveGatewayErrors"
        report.warning((path, "consecutiveErrors"), reasons.DEPRECATED, text)
    if outlier.consecutive_local_origin_failures and not outlier.split_external_local_origin_errors:
        text = "needs splitExternalLocalOriginErrors: true"
        report.error((path, "consecutiveLocalOriginFailures"), reasons.CONFLICTING_FIELDS, text)


def _check_tunnel(tunnel: Tunnel, path: Path, report: Report) -> None:
    if tunnel.protocol not in TUNNEL_METHODS:
        report.error((path, "protocol"), reasons.INVALID_CHOICE, "must be CONNECT or POST")
    if not is_address(tunnel.target_host) and (wrong := wrong_name(tunnel.target_host)):
        report.error((path, "targetHost"), reasons.INVALID_HOST, wrong)
    check_port(tunnel.target_port, (path, "targetPort"), report)
