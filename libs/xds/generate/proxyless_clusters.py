"""Clusters of gRPC programs that speak xDS themselves: what gRPC reads of a cluster, and no more.

gRPC knows endpoints that are fetched, and a name that DNS is asked for: of several, the first. A
cluster that is missing would hold up whatever else a channel calls for fifteen seconds.

Of a list of ways to balance gRPC takes the first that it knows, whereas it refuses a cluster for an
`lb_policy` that it does not know. It counts no errors that an outlier detection of ours names.
"""

from collections.abc import Iterable, Iterator, Sequence

from envoy.config.cluster.v3.cluster_pb2 import Cluster, LoadBalancingPolicy
from envoy.config.core.v3.config_source_pb2 import AggregatedConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.load_balancing_policies.least_request.v3.least_request_pb2 import LeastRequest
from envoy.extensions.load_balancing_policies.round_robin.v3.round_robin_pb2 import RoundRobin
from envoy.extensions.load_balancing_policies.wrr_locality.v3.wrr_locality_pb2 import WrrLocality
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from google.protobuf.message import Message

from libs.model.traffic import ConsistentHash, Simple, TlsMode, TrafficPolicy
from libs.proxy.scope import OutboundScope, ScopedService
from libs.xds import names
from libs.xds.generate import clusters, tls_client, typed
from libs.xds.generate.dns_names import KINDS
from libs.xds.generate.load_balancing import ring
from libs.xds.generate.proxyless_tls import certificates
from libs.xds.types import CLUSTER, NamedResource, resource

ADS = ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
_Type = Cluster.DiscoveryType
_KNOWN = frozenset({_Type.EDS, *KINDS.values()})


def generate(
    scope: OutboundScope, ports: Iterable[tuple[ScopedService, int]]
) -> Iterator[NamedResource]:
    """Yield the clusters of `ports`, and of their subsets, that gRPC can have."""
    wanted = {
        str(names.ClusterName(port, subset.name, scoped.service.host)): (scoped, subset, port)
        for scoped, port in ports
        for subset in scoped.subsets
    }
    for made in clusters.generate(scope):
        full = Cluster.FromString(made.body)
        if made.name not in wanted or full.type not in _KNOWN:
            continue
        scoped, subset, port = wanted[made.name]
        body = _cluster(full, scoped, subset.policies[port]).SerializeToString(deterministic=True)
        yield resource(made.name, CLUSTER, body=body, sources=made.sources)


def _cluster(full: Cluster, scoped: ScopedService, policy: TrafficPolicy) -> Cluster:
    found = Cluster(name=full.name, metadata=full.metadata)
    if full.type == _Type.EDS:
        found.type = _Type.EDS
        found.eds_cluster_config.eds_config.CopyFrom(ADS)
        found.eds_cluster_config.service_name = full.name
    else:
        _ask(found, full)
    _balance(found, policy)
    for limits in full.circuit_breakers.thresholds:
        if limits.HasField("max_requests"):
            found.circuit_breakers.thresholds.add(max_requests=limits.max_requests)
    if policy.tls and policy.tls.mode is TlsMode.ISTIO_MUTUAL:
        _prove(found, policy.tls.subject_alt_names or scoped.accounts)
    return found


def _ask(cluster: Cluster, full: Cluster) -> None:
    cluster.type = _Type.LOGICAL_DNS
    nearest = min(full.load_assignment.endpoints, key=lambda group: group.priority)
    cluster.load_assignment.cluster_name = full.name
    cluster.load_assignment.endpoints.add(lb_endpoints=nearest.lb_endpoints[:1])


def _balance(cluster: Cluster, policy: TrafficPolicy) -> None:
    """Choose endpoints as the policy says; in turn, where gRPC has nothing like it."""
    wanted = policy.load_balancing
    if wanted and wanted.consistent_hash:
        _hash(cluster, wanted.consistent_hash)
    elif wanted and wanted.simple is Simple.LEAST_REQUEST:
        # C++ and what is built upon it know nothing of this, and take turns.
        policies = _first_known(LeastRequest(), RoundRobin())
        by_locality = WrrLocality(endpoint_picking_policy=policies)
        cluster.load_balancing_policy.CopyFrom(_first_known(by_locality))


def _hash(cluster: Cluster, wanted: ConsistentHash) -> None:
    # Maglev is not known to gRPC; a ring keeps requests with their endpoint, too.
    cluster.lb_policy = Cluster.LbPolicy.RING_HASH
    cluster.ring_hash_lb_config.CopyFrom(ring(wanted))


def _first_known(*policies: Message) -> LoadBalancingPolicy:
    found = LoadBalancingPolicy()
    for policy in policies:
        name = f"envoy.load_balancing_policies.{policy.DESCRIPTOR.file.package.split('.')[-2]}"
        config = TypedExtensionConfig(name=name, typed_config=typed.pack(policy))
        found.policies.add(typed_extension_config=config)
    return found


def _prove(cluster: Cluster, proved: Sequence[str]) -> None:
    """Ask for mutual TLS with servers that prove one of these names."""
    context = UpstreamTlsContext(common_tls_context=certificates(proved))
    cluster.transport_socket.CopyFrom(typed.transport_socket(tls_client.TLS, context))
