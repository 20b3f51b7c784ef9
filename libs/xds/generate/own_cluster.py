"""The own cluster in the bootstrap: what Envoy needs to balance by zones.

Only a static cluster can be the local one, so it stands in the bootstrap; its endpoints come over
EDS as all others do. And Envoy has to know its own place, which a pod cannot say of itself.
"""

from envoy.config.bootstrap.v3.bootstrap_pb2 import Bootstrap
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiVersion,
    ConfigSource,
)
from google.protobuf.duration_pb2 import Duration

from libs.proxy.own_cluster import NAME
from libs.proxy.scope import InboundScope

_PATIENCE = 5
"""Seconds that Envoy's start waits for the endpoints; without them zones do not matter."""


def bootstrap(scope: InboundScope) -> Bootstrap | None:
    """Return what is laid over the bootstrap; None for a proxy that does not balance by zones."""
    if scope.own is None:
        return None
    made = Bootstrap()
    place = scope.own.locality
    made.node.locality.region = place.region
    made.node.locality.zone = place.zone
    made.node.locality.sub_zone = place.subzone
    made.cluster_manager.local_cluster_name = NAME
    cluster = made.static_resources.clusters.add(name=NAME, type=Cluster.DiscoveryType.EDS)
    cluster.connect_timeout.FromSeconds(1)
    cluster.eds_cluster_config.eds_config.CopyFrom(_over_ads())
    return made


def _over_ads() -> ConfigSource:
    return ConfigSource(
        ads=AggregatedConfigSource(),
        initial_fetch_timeout=Duration(seconds=_PATIENCE),
        resource_api_version=ApiVersion.V3,
    )
