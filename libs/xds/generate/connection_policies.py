"""What TCP proxies obey of a policy: how long connections last, whom they stick to, tunnels.

The rest of a policy is its cluster's (clusters.py), and how requests are hashed is the routes'.
"""

from libs.model.ids import Ref
from libs.model.traffic import ConnectionPool, LoadBalancing, TrafficPolicy
from libs.proxy.policies import NOTHING_SAID
from libs.proxy.scope import ScopedService


def of_connections(policy: TrafficPolicy) -> TrafficPolicy:
    """Return what is left of a policy for TCP proxies; NOTHING_SAID if nothing is."""
    pool = _lasting(policy.connection_pool)
    balancing = policy.load_balancing if by_source(policy) else None
    if balancing is None and pool is None and policy.tunnel is None:
        return NOTHING_SAID
    hashing = LoadBalancing(consistent_hash=balancing.consistent_hash) if balancing else None
    return TrafficPolicy(load_balancing=hashing, connection_pool=pool, tunnel=policy.tunnel)


def by_source(policy: TrafficPolicy | None) -> bool:
    """Tell whether connections go to an endpoint that is chosen by their source address."""
    balancing = policy.load_balancing if policy else None
    hashing = balancing.consistent_hash if balancing else None
    return hashing is not None and hashing.source_ip


def sources(policy: TrafficPolicy | None, scoped: ScopedService | None) -> tuple[Ref, ...]:
    """Return where `policy`, of a service that is called, came from if TCP proxies obey it."""
    if policy is None or scoped is None or of_connections(policy) is NOTHING_SAID:
        return ()
    return scoped.policy_refs


def _lasting(pool: ConnectionPool | None) -> ConnectionPool | None:
    if pool is None or (pool.tcp_idle_timeout is None and pool.max_connection_duration is None):
        return None
    return ConnectionPool(
        tcp_idle_timeout=pool.tcp_idle_timeout,
        max_connection_duration=pool.max_connection_duration,
    )
