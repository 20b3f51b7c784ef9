"""Collectors: the cluster to which a proxy sends spans where its own settings say so.

Its server is an address and no service of the mesh, as in a bootstrap. Which requests become spans
is decided in `tracing`.
"""

from envoy.config.cluster.v3.cluster_pb2 import Cluster

from libs.model.proxy_settings import Collector
from libs.proxy.scope import OutboundScope
from libs.xds import names
from libs.xds.generate import dns_names, endpoints, tls_client
from libs.xds.types import CLUSTER, NamedResource, resource


def generate(scope: OutboundScope) -> list[NamedResource]:
    """Return the cluster of the server that the proxy's settings name, if any."""
    settings = scope.settings
    collector = settings.proxy.spans.collector
    if collector is None or not settings.tracing:
        return []
    cluster = Cluster(
        name=names.TRACER_CLUSTERS[collector.datadog], type=Cluster.DiscoveryType.STRICT_DNS
    )
    cluster.connect_timeout.FromMilliseconds(settings.connect_timeout)
    cluster.load_assignment.cluster_name = cluster.name
    place = cluster.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    place.address.CopyFrom(endpoints.address(collector.host, collector.port))
    dns_names.ask(cluster, scope)
    tls_client.apply(cluster, collector.tls, _server(collector), detect=False)
    body = cluster.SerializeToString(deterministic=True)
    return [resource(cluster.name, CLUSTER, body=body, sources=[settings.ref])]


def _server(collector: Collector) -> tls_client.Server:
    return tls_client.Server(
        sni=collector.host, names=(), external=True, http2=False, sidecar=True, selected=False
    )
