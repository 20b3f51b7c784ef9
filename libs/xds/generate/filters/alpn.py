"""ALPN: a client's proxy tells the server's over TLS which protocol is spoken inside.

A server's proxy that has to find out by itself what a port speaks takes mesh HTTP for HTTP only by
that. One cluster may carry both HTTP and other bytes, so the list cannot stand in its TLS context:
this filter sets it for each request, by the protocol that the cluster speaks upstream. The cluster
says so in its metadata (`mark`); where it speaks what the client speaks, the request says it.
Clusters whose server is outside the mesh carry `alpn_override: "false"` and keep their own list.
"""

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.substitution_format_string_pb2 import SubstitutionFormatString
from envoy.extensions.filters.common.set_filter_state.v3.value_pb2 import FilterStateValue
from envoy.extensions.filters.http.set_filter_state.v3.set_filter_state_pb2 import Config

from libs.xds.generate import typed

NAME = "istio.alpn"

_HTTP1 = "istio-http/1.1,istio,http/1.1"
_HTTP2 = "istio-h2,istio,h2"
_METADATA = "istio"
_MARK = "alpn"
_OBJECT = "envoy.network.application_protocols"  # Envoy's upstream TLS looks for it


def mark(cluster: Cluster, *, http2: bool) -> None:
    """Say in metadata that a cluster always speaks HTTP/2, or always HTTP/1.1, upstream."""
    fields = cluster.metadata.filter_metadata[_METADATA].fields
    fields[_MARK].string_value = _HTTP2 if http2 else _HTTP1


def _value() -> FilterStateValue:
    istio = f"xds.cluster_metadata.filter_metadata.{_METADATA}"
    by_client = f"(request.protocol == 'HTTP/2' ? '{_HTTP2}' : '{_HTTP1}')"
    by_cluster = f"has({istio}.{_MARK}) ? {istio}.{_MARK} : {by_client}"
    text = f"%CEL(has({istio}.alpn_override) ? '' : ({by_cluster}))%"
    return FilterStateValue(
        object_key=_OBJECT,
        format_string=SubstitutionFormatString(
            text_format_source=DataSource(inline_string=text), omit_empty_values=True
        ),
        # Read once, by the connection that this request opens or joins.
        shared_with_upstream=FilterStateValue.SharedWithUpstream.ONCE,
        skip_if_empty=True,
    )


FILTER = typed.http_filter(NAME, Config(on_request_headers=[_value()]))
"""For every outbound HTTP connection manager."""
