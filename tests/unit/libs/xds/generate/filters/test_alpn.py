from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.extensions.filters.http.set_filter_state.v3.set_filter_state_pb2 import Config

from libs.xds.generate.filters import alpn


def test_a_cluster_says_what_it_always_speaks() -> None:
    for http2, said in ((True, "istio-h2,istio,h2"), (False, "istio-http/1.1,istio,http/1.1")):
        cluster = Cluster()
        alpn.mark(cluster, http2=http2)
        assert cluster.metadata.filter_metadata["istio"]["alpn"] == said


def test_the_list_goes_with_the_request_to_the_connection() -> None:
    config = Config()
    assert alpn.FILTER.typed_config.Unpack(config)
    [value] = config.on_request_headers
    assert value.object_key == "envoy.network.application_protocols"
    assert value.skip_if_empty, "a cluster that keeps its own list must not get an empty one"
