"""Rules: what is derived from which kind, in the order in which it has to be.

A rule may read resources of every kind, but rows only of tables that rules before it fill. No two
owners give the same row. A new kind is one line here.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from libs.api import kubernetes
from libs.api.extensions.traffic_extension import TrafficExtension
from libs.api.extensions.wasm_plugin import WasmPlugin
from libs.api.ingress import Ingress
from libs.api.networking.destination_rule import DestinationRule
from libs.api.networking.envoy_filter import EnvoyFilter
from libs.api.networking.gateway import Gateway
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.networking.service_entry import ServiceEntry
from libs.api.networking.sidecar import Sidecar
from libs.api.networking.virtual_service import VirtualService
from libs.api.networking.workload_entry import WorkloadEntry
from libs.api.networking.workload_group import WorkloadGroup
from libs.api.resource import Resource
from libs.api.security.authorization_policy import AuthorizationPolicy
from libs.api.security.peer_authentication import PeerAuthentication
from libs.api.security.request_authentication import RequestAuthentication
from libs.api.telemetry.telemetry import Telemetry
from libs.translate import (
    access,
    delegates,
    endpoints,
    entry_endpoints,
    extensions,
    gateways,
    host_policies,
    host_policy_conflicts,
    ingress,
    machine_groups,
    namespaces,
    network_gateways,
    networks,
    patches,
    peers,
    proxy_settings,
    references,
    routing,
    service_entries,
    services,
    settings,
    sidecars,
    telemetry,
    tokens,
    unsupported,
    workload_entries,
    workloads,
)
from libs.translate.state import Derived
from libs.translate.view import View


class Rule(NamedTuple):
    """Derives rows and problems from each resource of a kind."""

    name: str
    kind: type[Resource]
    derive: Callable[[View, Any], Derived]


RULES = (
    Rule("settings", kubernetes.ConfigMap, settings.derive),
    Rule("namespaces", kubernetes.Namespace, namespaces.derive),
    Rule("networks", kubernetes.ConfigMap, networks.derive),
    Rule("services", kubernetes.Service, services.derive),
    Rule("gateways of networks", kubernetes.Service, network_gateways.derive),
    Rule("service entries", ServiceEntry, service_entries.derive),
    Rule("workloads", kubernetes.Pod, workloads.derive),
    Rule("workload entries", WorkloadEntry, workload_entries.derive),
    Rule("endpoints", kubernetes.Service, endpoints.derive),
    Rule("endpoints of entries", ServiceEntry, entry_endpoints.derive),
    Rule("sidecars", Sidecar, sidecars.derive),
    Rule("routing", VirtualService, routing.derive),
    Rule("gateways", Gateway, gateways.derive),
    Rule("gateways of ingresses", Ingress, ingress.gateway),
    Rule("routing of ingresses", Ingress, ingress.routings),
    Rule("host policies", DestinationRule, host_policies.derive),
    Rule("peers", PeerAuthentication, peers.derive),
    Rule("access", AuthorizationPolicy, access.derive),
    Rule("tokens", RequestAuthentication, tokens.derive),
    Rule("telemetry", Telemetry, telemetry.derive),
    Rule("patches", EnvoyFilter, patches.derive),
    Rule("modules", WasmPlugin, extensions.of_plugin),
    Rule("extensions", TrafficExtension, extensions.of_extension),
    Rule("references", VirtualService, references.check),
    Rule("delegates", VirtualService, delegates.check),
    Rule("gateway conflicts", Gateway, gateways.check),
    Rule("host policy conflicts", DestinationRule, host_policy_conflicts.check),
    Rule("entry conflicts", ServiceEntry, service_entries.check),
    Rule("groups of machines", WorkloadGroup, machine_groups.derive),
    Rule("sidecars in vain", Sidecar, sidecars.check),
    Rule("authorizers", AuthorizationPolicy, access.check),
    Rule("peer conflicts", PeerAuthentication, peers.check),
    Rule("proxy settings", ProxyConfig, proxy_settings.check),
    Rule("unsupported routing", VirtualService, unsupported.of_routing),
)
