"""Load balancing of a cluster: the algorithm, its warm-up, and the weights of localities.

LEAST_REQUEST unless the policy says otherwise. Clusters without a list of endpoints have nothing to
balance: Envoy sends to the address that the application dialled.
"""

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.health_check_pb2 import HealthStatus

from libs.model.service import Service
from libs.model.traffic import ConsistentHash, LoadBalancing, LocalityBalancing, Simple, Warmup
from libs.proxy import sessions

_DEFAULT_RING = 1024
_LbPolicy = Cluster.LbPolicy
_SESSIONS_GO_ON = (
    HealthStatus.HEALTHY,
    HealthStatus.DRAINING,
    HealthStatus.UNKNOWN,
    HealthStatus.DEGRADED,
)


def balance(cluster: Cluster, wanted: LoadBalancing | None) -> None:
    """Set how an endpoint of `cluster` is chosen; its discovery type must be set already."""
    if cluster.HasField("cluster_type") or cluster.type == Cluster.DiscoveryType.ORIGINAL_DST:
        cluster.lb_policy = _LbPolicy.CLUSTER_PROVIDED
        return
    balancing = wanted or LoadBalancing()
    if balancing.consistent_hash is not None:
        _hash(cluster, balancing.consistent_hash)
    elif balancing.simple is Simple.RANDOM:
        cluster.lb_policy = _LbPolicy.RANDOM
    elif balancing.simple is Simple.ROUND_ROBIN:
        cluster.lb_policy = _LbPolicy.ROUND_ROBIN
        if balancing.warmup is not None:
            cluster.round_robin_lb_config.slow_start_config.CopyFrom(_slow_start(balancing.warmup))
    else:
        cluster.lb_policy = _LbPolicy.LEAST_REQUEST
        if balancing.warmup is not None:
            slow_start = _slow_start(balancing.warmup)
            cluster.least_request_lb_config.slow_start_config.CopyFrom(slow_start)


def prefer_zone(cluster: Cluster, setting: LocalityBalancing | None) -> None:
    """Let Envoy prefer its own zone, or forbid it, if the setting is about zones."""
    if setting is None or not setting.zones:
        return
    found = cluster.common_lb_config.zone_aware_lb_config
    found.SetInParent()
    if setting.enabled is False:
        found.routing_enabled.SetInParent()  # 0 %
    if setting.min_cluster_size is not None:
        found.min_cluster_size.value = setting.min_cluster_size


def keep_sessions(cluster: Cluster, service: Service) -> None:
    """Let sessions go on at endpoints that drain, if the service keeps sessions.

    Envoy has them for healthy by whoever is sent there by name, and by nobody else.
    """
    if sessions.kept(service):
        cluster.common_lb_config.override_host_status.statuses.extend(_SESSIONS_GO_ON)


def _hash(cluster: Cluster, wanted: ConsistentHash) -> None:
    if wanted.maglev or wanted.maglev_table:
        cluster.lb_policy = _LbPolicy.MAGLEV
        if wanted.maglev_table:
            cluster.maglev_lb_config.table_size.value = wanted.maglev_table
        return
    cluster.lb_policy = _LbPolicy.RING_HASH
    cluster.ring_hash_lb_config.CopyFrom(ring(wanted))


def ring(wanted: ConsistentHash) -> Cluster.RingHashLbConfig:
    """Return the ring on which endpoints stand for hashes."""
    found = Cluster.RingHashLbConfig()
    found.minimum_ring_size.value = wanted.ring_size or _DEFAULT_RING
    return found


def _slow_start(warmup: Warmup) -> Cluster.SlowStartConfig:
    config = Cluster.SlowStartConfig()
    config.slow_start_window.FromMilliseconds(warmup.duration)
    # Envoy wants a runtime key; nobody sets one.
    config.aggression.runtime_key = "("
    config.aggression.default_value = 1.0 if warmup.aggression is None else warmup.aggression
    minimum = 10.0 if warmup.minimum_percent is None else warmup.minimum_percent
    config.min_weight_percent.value = minimum
    return config
