"""Settings: one row for the whole mesh, the ConfigMap laid over what the process was started with.

Absent fields keep the process's own setting. The cluster domain is a matter of the cluster and not
of the ConfigMap. What is wrong with the ConfigMap is said by `libs.api.validate`.
"""

from typing import Any

from msgspec.structs import replace

from libs.api import mesh_config as api
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_parts import IngressMode, MeshTlsVersion
from libs.api.networking.destination_rule import H2UpgradePolicy
from libs.api.validate.server_tls import CURVES
from libs.api.written import written as as_written
from libs.model.mesh import Key, Table
from libs.model.settings import MeshSettings
from libs.model.telemetry import AccessLog
from libs.model.traffic import TrafficPolicy
from libs.proxy import settings as proxy_settings
from libs.translate import entry_visibility
from libs.translate.http_routes import retries
from libs.translate.providers import default_providers, providers
from libs.translate.state import Derived
from libs.translate.traffic_policy import (
    client_tls,
    connection_pool,
    keepalive,
    locality_balancing,
    outlier_detection,
    zone_balancing,
)
from libs.translate.view import View


def derive(view: View, resource: ConfigMap) -> Derived:
    """Return the settings that the mesh's ConfigMap gives; nothing for any other ConfigMap."""
    base = view.default_settings
    metadata = resource.metadata
    if (metadata.namespace, metadata.name) != (base.root_namespace, base.config_map):
        return Derived()
    config, _ = api.read(resource)
    if config is None:
        return Derived()
    row = replace(base, ref=resource.ref, **_written(config, base))
    return Derived(rows=((Key(Table.SETTINGS, ""), row),))


def _written(config: api.MeshConfig, base: MeshSettings) -> dict[str, Any]:
    """The settings that the ConfigMap names, by the name that they have in the model."""
    plain = {
        "trust_domain": config.trust_domain,
        "trust_domain_aliases": config.trust_domain_aliases,
        "other_trust_domains": _trusted(config),
        "root_namespace": config.root_namespace,
        "auto_mtls": config.enable_auto_mtls,
        "connect_timeout": config.connect_timeout,
        "tcp_keepalive": keepalive(config.tcp_keepalive),
        "protocol_detection_timeout": config.protocol_detection_timeout,
        "dns_refresh_rate": config.dns_refresh_rate,
        "inbound_retries": retries(config.default_inbound_http_retry_policy),
        "outbound_stat_name": config.outbound_cluster_stat_name,
        "inbound_stat_name": config.inbound_cluster_stat_name,
        "default_retries": retries(config.default_http_retry_policy),
        "service_export_to": config.default_service_export_to,
        "routing_export_to": config.default_virtual_service_export_to,
        "host_policy_export_to": config.default_destination_rule_export_to,
        "prometheus_merge": config.enable_prometheus_merge,
        "tracing": config.enable_tracing,
        "log_service": config.enable_envoy_access_log_service,
        "outbound_port": config.proxy_listen_port or None,
        "inbound_port": config.proxy_inbound_listen_port or None,
        "http_proxy_port": config.proxy_http_port,
        "providers": providers(config.extension_providers or ()),
        "default_providers": default_providers(config.default_providers),
    }
    if config.disable_envoy_listener_log is not None:
        plain["log_listeners"] = not config.disable_envoy_listener_log
    written = {name: value for name, value in plain.items() if value is not None}
    return written | _policies(config) | _edge(config) | _access_log(config, base)


def _trusted(config: api.MeshConfig) -> tuple[str, ...] | None:
    """Return the trust domains whose roots the mesh trusts, too."""
    found = (name for it in config.ca_certificates or () for name in it.trust_domains)
    return tuple(dict.fromkeys(found)) or None


def _policies(config: api.MeshConfig) -> dict[str, Any]:
    """Settings whose form in the ConfigMap differs from that in the model."""
    written: dict[str, Any] = {}
    if config.outbound_traffic_policy:
        mode = config.outbound_traffic_policy.mode
        written["allow_any_outbound"] = mode is not api.OutboundMode.REGISTRY_ONLY
        if mode is api.OutboundMode.ALLOW_ANY_DYNAMIC_DNS:
            written["dynamic_dns"] = True
            written["dynamic_dns_tls"] = client_tls(config.outbound_traffic_policy.tls)
    if config.inbound_traffic_policy:
        inbound = config.inbound_traffic_policy.mode
        written["passthrough_inbound"] = inbound is api.InboundMode.PASSTHROUGH
    if config.path_normalization:
        kind = config.path_normalization.normalization
        written["path_normalization"] = "BASE" if kind is api.Normalization.DEFAULT else str(kind)
    if config.h2_upgrade_policy:
        written["h2_upgrade"] = config.h2_upgrade_policy is H2UpgradePolicy.UPGRADE
    return written | _of_hosts(config) | _of_proxies(config) | _tls(config)


def _tls(config: api.MeshConfig) -> dict[str, Any]:
    written: dict[str, Any] = {}
    mesh, others = config.mesh_mtls, config.tls_defaults
    if mesh is not None:
        if mesh.min_protocol_version is MeshTlsVersion.TLSV1_3:
            written["mesh_tls_minimum"] = str(mesh.min_protocol_version)
        written["mesh_tls_ciphers"] = mesh.cipher_suites
    if others is not None:
        known = (curve for curve in others.ecdh_curves if curve in CURVES)
        written["tls_curves"] = tuple(dict.fromkeys(known))
        written["tls_ciphers"] = others.cipher_suites
        if others.min_protocol_version is not MeshTlsVersion.TLS_AUTO:
            written["tls_minimum"] = str(others.min_protocol_version)
    return written


def _of_hosts(config: api.MeshConfig) -> dict[str, Any]:
    """What hosts' own policies may leave open."""
    written: dict[str, Any] = {}
    zones = zone_balancing(config.zone_aware_lb_setting)
    if config.service_entry_visibility:
        written["entry_visibility"] = entry_visibility.read(config.service_entry_visibility)
    if zones or config.locality_lb_setting:
        written["locality"] = zones or locality_balancing(config.locality_lb_setting)
    if defaults := config.default_traffic_policy:
        written["default_policy"] = TrafficPolicy(
            connection_pool=connection_pool(defaults.connection_pool),
            outlier_detection=outlier_detection(defaults.outlier_detection),
        )
    return written


def _of_proxies(config: api.MeshConfig) -> dict[str, Any]:
    """What holds for proxies that say nothing of their own."""
    written: dict[str, Any] = {}
    if config.default_config:
        written["proxy"] = proxy_settings.read(as_written(config.default_config))
        if config.default_config.mesh_id:
            written["mesh_id"] = config.default_config.mesh_id
    return written


def _edge(config: api.MeshConfig) -> dict[str, Any]:
    """Settings of gateways, and of the Ingresses that become gateways."""
    written: dict[str, Any] = {}
    if config.ingress_class is not None:
        written["ingress_class"] = config.ingress_class
    if config.ingress_controller_mode not in {None, IngressMode.UNSPECIFIED}:
        written["ingress"] = str(config.ingress_controller_mode)
    if selector := config.ingress_selector or config.ingress_service:
        written["ingress_selector"] = selector
    if config.ingress_service is not None:
        written["ingress_service"] = config.ingress_service
    return written


def _access_log(config: api.MeshConfig, base: MeshSettings) -> dict[str, Any]:
    old, encoding = base.access_log, config.access_log_encoding
    as_json = old.json if encoding is None else encoding is api.LogEncoding.JSON
    form = old.format if config.access_log_format is None else config.access_log_format
    log = AccessLog(
        path=old.path if config.access_log_file is None else config.access_log_file,
        format="" if as_json and not api.is_json(form) else form,
        json=as_json,
    )
    return {"access_log": log}
