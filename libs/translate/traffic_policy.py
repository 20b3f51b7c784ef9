"""Traffic policy: load balancing, connections, outlier detection and TLS of a DestinationRule.

In the API a number that is not set is 0; in the model it is None, so that a nearer policy can be
laid over a farther one.
"""

from libs.api.networking import destination_rule as api
from libs.model import traffic as model


def policy(written: api.TrafficPolicy | None) -> model.TrafficPolicy | None:
    """Return the policy of a host or subset."""
    if written is None:
        return None
    return model.TrafficPolicy(
        load_balancing=_load_balancing(written.load_balancer),
        connection_pool=connection_pool(written.connection_pool),
        outlier_detection=outlier_detection(written.outlier_detection),
        tls=client_tls(written.tls),
        ports={it.port.number: _port_policy(it) for it in written.port_level_settings if it.port},
        proxy_protocol=written.proxy_protocol.version if written.proxy_protocol else "",
        tunnel=_tunnel(written.tunnel),
        retry_budget=_retry_budget(written.retry_budget),
    )


def _tunnel(written: api.Tunnel | None) -> model.Tunnel | None:
    if written is None:
        return None
    host = f"[{written.target_host}]" if ":" in written.target_host else written.target_host
    return model.Tunnel(f"{host}:{written.target_port}", written.protocol.upper() == "POST")


def _retry_budget(written: api.RetryBudget | None) -> model.RetryBudget | None:
    if written is None:
        return None
    return model.RetryBudget(
        written.percent, written.min_retry_concurrency, written.budget_interval
    )


def _h2_ping(written: api.ConnectionKeepalive | None) -> model.H2Ping | None:
    return model.H2Ping(written.interval, written.timeout) if written else None


def _port_policy(written: api.PortTrafficPolicy) -> model.TrafficPolicy:
    return model.TrafficPolicy(
        load_balancing=_load_balancing(written.load_balancer),
        connection_pool=connection_pool(written.connection_pool),
        outlier_detection=outlier_detection(written.outlier_detection),
        tls=client_tls(written.tls),
    )


_SIMPLE = {
    None: model.Simple.UNSET,
    api.SimpleBalancer.UNSPECIFIED: model.Simple.UNSET,
    api.SimpleBalancer.LEAST_CONN: model.Simple.LEAST_REQUEST,
    api.SimpleBalancer.LEAST_REQUEST: model.Simple.LEAST_REQUEST,
    api.SimpleBalancer.RANDOM: model.Simple.RANDOM,
    api.SimpleBalancer.ROUND_ROBIN: model.Simple.ROUND_ROBIN,
    api.SimpleBalancer.PASSTHROUGH: model.Simple.PASSTHROUGH,
}


def _load_balancing(written: api.LoadBalancer | None) -> model.LoadBalancing | None:
    if written is None:
        return None
    return model.LoadBalancing(
        simple=_SIMPLE[written.simple],
        consistent_hash=_consistent_hash(written.consistent_hash),
        locality=zone_balancing(written.zone_aware_lb_setting)
        or locality_balancing(written.locality_lb_setting),
        warmup=_warmup(written),
    )


def _warmup(written: api.LoadBalancer) -> model.Warmup | None:
    if written.warmup is not None:
        return model.Warmup(
            duration=written.warmup.duration,
            minimum_percent=written.warmup.minimum_percent,
            aggression=written.warmup.aggression,
        )
    old = written.warmup_duration_secs
    return model.Warmup(duration=old) if old is not None else None


def _consistent_hash(written: api.ConsistentHash | None) -> model.ConsistentHash | None:
    if written is None:
        return None
    cookie = written.http_cookie
    ring = written.ring_hash.minimum_ring_size if written.ring_hash else written.minimum_ring_size
    return model.ConsistentHash(
        header=written.http_header_name or "",
        cookie=cookie.name if cookie else "",
        cookie_path=cookie.path if cookie else "",
        cookie_ttl=cookie.ttl if cookie else None,
        cookie_attributes={it.name: it.value for it in cookie.attributes} if cookie else {},
        source_ip=written.use_source_ip or False,
        query_parameter=written.http_query_parameter_name or "",
        ring_size=ring,
        maglev=written.maglev is not None,
        maglev_table=written.maglev.table_size if written.maglev else 0,
    )


def zone_balancing(written: api.ZoneAwareBalancing | None) -> model.LocalityBalancing | None:
    """Return how zones share traffic; the mesh's settings write it the same way."""
    if written is None:
        return None
    return model.LocalityBalancing(
        enabled=written.enabled,
        zones=True,
        min_cluster_size=written.min_cluster_size,
        failover=tuple(model.LocalityFailover(it.from_, it.to) for it in written.failover),
        failover_priority=written.failover_priority,
    )


def locality_balancing(written: api.LocalityBalancing | None) -> model.LocalityBalancing | None:
    """Return how localities share traffic; the mesh's settings write it the same way."""
    if written is None:
        return None
    return model.LocalityBalancing(
        enabled=written.enabled,
        distribute=tuple(model.LocalityWeights(it.from_, it.to) for it in written.distribute),
        failover=tuple(model.LocalityFailover(it.from_, it.to) for it in written.failover),
        failover_priority=written.failover_priority,
    )


def keepalive(written: api.TcpKeepalive | None) -> model.Keepalive | None:
    """Return TCP keepalive; the mesh's settings write it the same way."""
    if written is None:
        return None
    return model.Keepalive(written.probes or None, written.time, written.interval)


def connection_pool(written: api.ConnectionPool | None) -> model.ConnectionPool | None:
    """Return the limits of connections, which Sidecars write in the same way."""
    if written is None:
        return None
    tcp, http = written.tcp or api.TcpPool(), written.http or api.HttpPool()
    upgrade = http.h2_upgrade_policy
    return model.ConnectionPool(
        max_connections=tcp.max_connections or None,
        connect_timeout=tcp.connect_timeout,
        keepalive=keepalive(tcp.tcp_keepalive),
        max_connection_duration=tcp.max_connection_duration,
        tcp_idle_timeout=tcp.idle_timeout,
        max_pending_requests=http.http1_max_pending_requests or None,
        max_requests=http.http2_max_requests or None,
        max_requests_per_connection=http.max_requests_per_connection or None,
        max_retries=http.max_retries or None,
        http_idle_timeout=http.idle_timeout,
        h2_upgrade="" if upgrade is api.H2UpgradePolicy.DEFAULT else upgrade,
        use_client_protocol=http.use_client_protocol or None,
        max_concurrent_streams=http.max_concurrent_streams or None,
        h2_ping=_h2_ping(http.http2_keep_alive),
    )


def outlier_detection(written: api.OutlierDetection | None) -> model.OutlierDetection | None:
    """Return when endpoints are taken out; the mesh's settings write it the same way."""
    if written is None:
        return None
    return model.OutlierDetection(
        consecutive_5xx=written.consecutive_5xx_errors,
        consecutive_gateway_errors=written.consecutive_gateway_errors,
        consecutive_local_failures=written.consecutive_local_origin_failures,
        split_local_errors=written.split_external_local_origin_errors or None,
        interval=written.interval,
        base_ejection_time=written.base_ejection_time,
        max_ejection_percent=written.max_ejection_percent or None,
        min_health_percent=written.min_health_percent or None,
        error_statuses=tuple(sorted(set(written.outlier_detection_http_error_codes))),
    )


def client_tls(written: api.ClientTls | None) -> model.ClientTls | None:
    """Return how TLS is spoken as a client, or None if nothing is said of it."""
    if written is None:
        return None
    return model.ClientTls(
        mode=model.TlsMode(written.mode),
        certificate=written.client_certificate,
        private_key=written.private_key,
        ca_certificates=written.ca_certificates,
        ca_crl=written.ca_crl,
        credential_name=written.credential_name,
        subject_alt_names=written.subject_alt_names,
        sni=written.sni,
        insecure_skip_verify=written.insecure_skip_verify,
    )
