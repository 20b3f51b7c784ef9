"""DNS names: clusters whose endpoints are names that the proxy resolves by itself."""

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.extensions.network.dns_resolver.cares.v3.cares_dns_resolver_pb2 import (
    CaresDnsResolverConfig,
)
from google.protobuf.wrappers_pb2 import UInt32Value

from libs.model.service import Resolution, Service
from libs.proxy.scope import EndpointScope, OutboundScope
from libs.xds.generate import dynamic_dns, endpoints, typed

KINDS = {
    Resolution.DNS: Cluster.DiscoveryType.STRICT_DNS,
    Resolution.DNS_ROUND_ROBIN: Cluster.DiscoveryType.LOGICAL_DNS,
}
"""Types of clusters, by how their services say that they are resolved."""

_JITTER = 100  # milliseconds; without it, names that came together are asked for together
# A new socket for each hundred questions: one that a firewall has dropped is not kept for ever.
_RESOLVER = TypedExtensionConfig(
    name="envoy.network.dns_resolver.cares",
    typed_config=typed.pack(CaresDnsResolverConfig(udp_max_queries=UInt32Value(value=100))),
)


def resolved(service: Service) -> bool:
    """Tell whether the endpoints of a service are names."""
    return service.resolution in KINDS


def resolve(cluster: Cluster, scope: OutboundScope, chosen: EndpointScope) -> None:
    """Put endpoints, which are names, into a cluster, and how the proxy asks for them."""
    cluster.load_assignment.CopyFrom(endpoints.assignment(chosen))
    cluster.load_assignment.cluster_name = cluster.name
    ask(cluster, scope)


def ask(cluster: Cluster, scope: OutboundScope) -> None:
    """Say how the proxy asks DNS for the endpoints of a cluster."""
    cluster.dns_lookup_family = dynamic_dns.lookup(scope.families)
    cluster.dns_refresh_rate.FromMilliseconds(scope.settings.dns_refresh_rate)
    cluster.dns_jitter.FromMilliseconds(_JITTER)
    cluster.typed_dns_resolver_config.CopyFrom(_RESOLVER)
    cluster.respect_dns_ttl = True
