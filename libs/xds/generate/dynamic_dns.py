"""Dynamic DNS: hosts that are resolved when somebody asks for them, because a wildcard names them.

The cluster, the HTTP filter and the network filter share one cache of answers, which Envoy finds by
its name; all three must describe it alike. The host is the request's, or the SNI of a connection
whose TLS passes through.
"""

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.extensions.clusters.dynamic_forward_proxy.v3.cluster_pb2 import ClusterConfig
from envoy.extensions.common.dynamic_forward_proxy.v3.dns_cache_pb2 import DnsCacheConfig
from envoy.extensions.filters.http.dynamic_forward_proxy.v3 import (
    dynamic_forward_proxy_pb2 as http_pb2,
)
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.sni_dynamic_forward_proxy.v3 import (
    sni_dynamic_forward_proxy_pb2 as sni_pb2,
)

from libs.model.settings import MeshSettings
from libs.proxy.node import Families
from libs.xds.generate import typed

CLUSTER_TYPE = "envoy.clusters.dynamic_forward_proxy"
HTTP_FILTER = "envoy.filters.http.dynamic_forward_proxy"
NETWORK_FILTER = "envoy.filters.network.sni_dynamic_forward_proxy"

_CACHE = "dynamic_dns"
_LOOKUPS = {
    Families.IPV4: Cluster.DnsLookupFamily.V4_ONLY,
    Families.IPV6: Cluster.DnsLookupFamily.V6_ONLY,
    Families.DUAL: Cluster.DnsLookupFamily.ALL,
}


def lookup(families: Families) -> "Cluster.DnsLookupFamily.ValueType":
    """Return which addresses a proxy asks DNS for: those that it can reach."""
    return _LOOKUPS[families]


def resolve(cluster: Cluster, settings: MeshSettings, families: Families) -> None:
    """Make `cluster` one whose endpoint is whatever host is asked for."""
    config = ClusterConfig(
        dns_cache_config=_cache(settings, families),
        # The names that a server must prove are the policy's own affair.
        allow_insecure_cluster_options=True,
    )
    cluster.cluster_type.name = CLUSTER_TYPE
    cluster.cluster_type.typed_config.CopyFrom(typed.pack(config))
    cluster.lb_policy = Cluster.LbPolicy.CLUSTER_PROVIDED


def http_filter(settings: MeshSettings, families: Families) -> hcm.HttpFilter:
    """Return the filter that waits for DNS before a request goes on; others it lets through."""
    config = http_pb2.FilterConfig(dns_cache_config=_cache(settings, families))
    return typed.http_filter(HTTP_FILTER, config)


def network_filter(settings: MeshSettings, families: Families, *, port: int) -> Filter:
    """Return the filter that resolves the SNI of a connection, which goes on to `port`."""
    config = sni_pb2.FilterConfig(dns_cache_config=_cache(settings, families), port_value=port)
    return typed.network_filter(NETWORK_FILTER, config)


def _cache(settings: MeshSettings, families: Families) -> DnsCacheConfig:
    config = DnsCacheConfig(name=_CACHE, dns_lookup_family=lookup(families))
    config.dns_refresh_rate.FromMilliseconds(settings.dns_refresh_rate)
    return config
