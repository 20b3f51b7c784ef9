"""Rules about load balancing."""

from math import isqrt

from libs.api import reasons
from libs.api.networking.destination_rule import ConsistentHash, HttpCookie, LoadBalancer, Warmup
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.durations import check_duration, check_idle_timeout
from libs.api.validate.localities import check_localities, check_zones
from libs.api.validate.single_line import check_line

MAGLEV_LIMIT = 5_000_011
"""Envoy's table is smaller than this."""

RING_LIMIT = 8 * 1024 * 1024
"""Envoy's ring is no larger than this."""


def check_load_balancer(
    balancer: LoadBalancer | None, path: Path, report: Report, *, outlier: bool
) -> None:
    """Report what is wrong with load balancing; `outlier`: there is outlier detection."""
    if balancer is None:
        return
    if balancer.simple is not None and balancer.consistent_hash is not None:
        text = "only one of simple and consistentHash may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    if balancer.consistent_hash:
        _check_hash(balancer.consistent_hash, (path, "consistentHash"), report)
    if balancer.locality_lb_setting and balancer.zone_aware_lb_setting:
        text = "only one of localityLbSetting and zoneAwareLbSetting may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    localities = balancer.locality_lb_setting
    check_localities(localities, (path, "localityLbSetting"), report, outlier=outlier)
    zones = balancer.zone_aware_lb_setting
    check_zones(zones, (path, "zoneAwareLbSetting"), report, outlier=outlier)
    _check_warmup(balancer, path, report)


def _check_warmup(balancer: LoadBalancer, path: Path, report: Report) -> None:
    if balancer.warmup_duration_secs is not None:
        place = (path, "warmupDurationSecs")
        check_duration(balancer.warmup_duration_secs, place, report)
        text = "deprecated: write warmup: {duration: …}"
        report.warning(place, reasons.DEPRECATED, text)
    warmup: Warmup | None = balancer.warmup
    if warmup is None:
        return
    check_duration(warmup.duration, ((path, "warmup"), "duration"), report)
    if warmup.aggression is not None and warmup.aggression <= 0:
        text = "must be greater than 0"
        report.error(((path, "warmup"), "aggression"), reasons.OUT_OF_RANGE, text)


def _check_hash(balancer: ConsistentHash, path: Path, report: Report) -> None:
    keys = (
        balancer.http_header_name,
        balancer.http_cookie,
        balancer.use_source_ip,
        balancer.http_query_parameter_name,
    )
    check_line(balancer.http_header_name or "", (path, "httpHeaderName"), report)
    _check_keys(sum(key is not None for key in keys), path, report)
    if balancer.http_cookie:
        _check_cookie(balancer.http_cookie, (path, "httpCookie"), report)
    if balancer.minimum_ring_size:
        text = "deprecated: write ringHash: {minimumRingSize: …}"
        report.warning((path, "minimumRingSize"), reasons.DEPRECATED, text)
    sizes = (balancer.minimum_ring_size or None, balancer.ring_hash, balancer.maglev)
    if sum(size is not None for size in sizes) > 1:
        text = "only one of ringHash, maglev and minimumRingSize may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    _check_ring(balancer.minimum_ring_size, (path, "minimumRingSize"), report)
    if balancer.ring_hash:
        size = balancer.ring_hash.minimum_ring_size
        _check_ring(size, ((path, "ringHash"), "minimumRingSize"), report)
    if balancer.maglev:
        _check_table(balancer.maglev.table_size, ((path, "maglev"), "tableSize"), report)


def _check_keys(count: int, path: Path, report: Report) -> None:
    names = "httpHeaderName, httpCookie, useSourceIp and httpQueryParameterName"
    if count > 1:
        text = f"only one of {names} may be set"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    elif count == 0:
        text = f"needs one of {names}; without a key, endpoints are chosen at random"
        report.warning(path, reasons.NO_EFFECT, text)


def _check_cookie(cookie: HttpCookie, path: Path, report: Report) -> None:
    if not cookie.name:
        report.error((path, "name"), reasons.EMPTY_VALUE, "must not be empty")
    check_line(cookie.name, (path, "name"), report)
    check_line(cookie.path, (path, "path"), report)
    check_idle_timeout(cookie.ttl, (path, "ttl"), report)
    seen: set[str] = set()
    for index, attribute in enumerate(cookie.attributes):
        place = (((path, "attributes"), index), "name")
        if not attribute.name:
            report.error(place, reasons.EMPTY_VALUE, "must not be empty")
        elif attribute.name in seen:
            text = f"the attribute {attribute.name[:100]!r} is there twice"
            report.error(place, reasons.DUPLICATE_KEY, text)
        check_line(attribute.name, place, report)
        check_line(attribute.value, (place[0], "value"), report)
        seen.add(attribute.name)


def _check_ring(size: int, path: Path, report: Report) -> None:
    if size > RING_LIMIT:
        text = f"must not be larger than {RING_LIMIT}"
        report.error(path, reasons.OUT_OF_RANGE, text)


def _check_table(size: int, path: Path, report: Report) -> None:
    if not 0 < size < MAGLEV_LIMIT or not _is_prime(size):
        text = f"must be a prime number below {MAGLEV_LIMIT}"
        report.error(path, reasons.OUT_OF_RANGE, text)


def _is_prime(number: int) -> bool:
    """Tell whether a number is prime, counting 1 as Envoy does."""
    if number < 4:
        return number > 0
    return number % 2 == 1 and all(number % odd for odd in range(3, isqrt(number) + 1, 2))
