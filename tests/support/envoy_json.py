"""Envoy resources for tests, written in JSON as Envoy's documentation does, made into snapshots."""

from collections.abc import Mapping, Sequence
from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2

# Any is found by its type, which has to be loaded.
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2,  # noqa: F401
)
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2  # noqa: F401
from google.protobuf import json_format
from google.protobuf.message import Message

from libs.xds.types import CLUSTER, LISTENER, ResourceSet, Snapshot, resource, resource_set

TYPE = "type.googleapis.com/envoy.extensions."
_SDS = {
    "resource_api_version": "V3",
    "api_config_source": {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    },
}
WORKLOAD_TLS = {
    "name": "envoy.transport_sockets.tls",
    "typed_config": {
        "@type": f"{TYPE}transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "tls_certificate_sds_secret_configs": [{"name": "default", "sds_config": _SDS}],
            "validation_context_sds_secret_config": {"name": "ROOTCA", "sds_config": _SDS},
        },
    },
}
"""A listener's transport socket with the secrets of the agent."""


def http_chain(cluster: str, response_headers: Mapping[str, str]) -> dict[str, Any]:
    """Return a filter chain that passes every request on to `cluster`."""
    headers = [{"header": {"key": key, "value": text}} for key, text in response_headers.items()]
    route = {
        "match": {"prefix": "/"},
        "route": {"cluster": cluster},
        "response_headers_to_add": headers,
    }
    router = {"@type": f"{TYPE}filters.http.router.v3.Router"}
    manager = {
        "@type": f"{TYPE}filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "test",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}],
        },
    }
    name = "envoy.filters.network.http_connection_manager"
    return {"filters": [{"name": name, "typed_config": manager}]}


def snapshot(
    clusters: Sequence[Mapping[str, Any]], listeners: Sequence[Mapping[str, Any]]
) -> Snapshot:
    """Return what a control plane would serve."""
    made = [json_format.ParseDict(dict(one), cluster_pb2.Cluster()) for one in clusters]
    heard = [json_format.ParseDict(dict(one), listener_pb2.Listener()) for one in listeners]
    return Snapshot({CLUSTER: _set(CLUSTER, made), LISTENER: _set(LISTENER, heard)})


def _set(type_url: str, messages: Sequence[Message]) -> ResourceSet:
    made = [
        resource(one.name, type_url, body=one.SerializeToString(deterministic=True))  # type: ignore[attr-defined]
        for one in messages
    ]
    return resource_set(type_url, made)
