"""Remote services: servers that Envoy itself talks to by name, from its start on.

Where Envoy's own metrics go, and where access logs may go; the mesh's configuration names the
clusters. TLS is as in a DestinationRule: files are read by the agent, which serves them to Envoy,
so that they may be rotated.
"""

from collections.abc import Iterable
from typing import Any

from services.agent.files import FILE_CERT, FILE_ROOT, SYSTEM_ROOT
from services.agent.proxy_config import Keepalive, RemoteService, RemoteTls
from services.agent.secrets import DEFAULT, ROOTCA

ACCESS_LOG_CLUSTER = "envoy_accesslog_service"
METRICS_CLUSTER = "envoy_metrics_service"
SECRET_SECONDS = 5
"""How long Envoy's start waits for a secret that is not there: it must start without, too."""

_TYPE = "type.googleapis.com/"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"


def found(access_logs: RemoteService, metrics: RemoteService) -> list[dict[str, Any]]:
    """Return the clusters of the services that there are, in the JSON form of Envoy's Cluster."""
    named = ((ACCESS_LOG_CLUSTER, access_logs), (METRICS_CLUSTER, metrics))
    return [_cluster(name, service) for name, service in named if service.address]


def sinks(metrics: RemoteService) -> list[dict[str, Any]]:
    """Return where Envoy sends its metrics by itself."""
    if not metrics.address:
        return []
    config = {
        "@type": f"{_TYPE}envoy.config.metrics.v3.MetricsServiceConfig",
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": METRICS_CLUSTER}},
    }
    return [{"name": "envoy.stat_sinks.metrics_service", "typed_config": config}]


def _cluster(name: str, service: RemoteService) -> dict[str, Any]:
    host, _, port = service.address.rpartition(":")
    address = {"address": host.strip("[]"), "port_value": int(port)}
    endpoint = {"endpoint": {"address": {"socket_address": address}}}
    return {
        "name": name,
        "type": "STRICT_DNS",
        "respect_dns_ttl": True,
        "dns_lookup_family": "V4_PREFERRED",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": _TYPE + _HTTP_OPTIONS,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        **_keepalive(service.tcp_keepalive),
        **_transport(service.tls_settings),
    }


def _keepalive(asked: Keepalive) -> dict[str, Any]:
    named = {
        "keepalive_probes": asked.probes,
        "keepalive_time": round(asked.time),
        "keepalive_interval": round(asked.interval),
    }
    given = {name: number for name, number in named.items() if number}
    return {"upstream_connection_options": {"tcp_keepalive": given}} if given else {}


def _transport(tls: RemoteTls) -> dict[str, Any]:
    if tls.mode == "DISABLE":
        return {}
    own = tls.mode == "ISTIO_MUTUAL"
    context = {
        "@type": _TYPE + _TLS,
        "sni": tls.sni,
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2"],
            "tls_certificate_sds_secret_configs": [_secret(name) for name in _keys(tls, own=own)],
            **_validation(tls, own=own),
        },
    }
    return {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}


def _keys(tls: RemoteTls, *, own: bool) -> Iterable[str]:
    if own:
        return (DEFAULT,)
    if tls.mode == "MUTUAL" and tls.client_certificate and tls.private_key:
        return (f"{FILE_CERT}{tls.client_certificate}~{tls.private_key}",)
    return ()


def _validation(tls: RemoteTls, *, own: bool) -> dict[str, Any]:
    if tls.insecure_skip_verify and not own:
        return {"validation_context": {}}
    roots = f"{FILE_ROOT}{tls.ca_certificates}" if tls.ca_certificates else SYSTEM_ROOT
    allowed: dict[str, Any] = {
        "match_typed_subject_alt_names": [
            {"san_type": kind, "matcher": {"exact": name}}
            for name in tls.subject_alt_names
            for kind in ("DNS", "URI")
        ]
    }
    if tls.ca_crl and not own:
        allowed["crl"] = {"filename": tls.ca_crl}
    return {
        "combined_validation_context": {
            "default_validation_context": allowed,
            "validation_context_sds_secret_config": _secret(ROOTCA if own else roots),
        }
    }


def _secret(name: str) -> dict[str, Any]:
    api = {
        "api_type": "GRPC",
        "transport_api_version": "V3",
        "set_node_on_first_message_only": True,
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    }
    source = {
        "api_config_source": api,
        "initial_fetch_timeout": f"{SECRET_SECONDS}s",
        "resource_api_version": "V3",
    }
    return {"name": name, "sds_config": source}
