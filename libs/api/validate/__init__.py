"""Validation: what a resource says that cannot be, or can hardly be meant.

`validate` judges one resource by itself, one file of rules a kind; what resources say of each other
is not judged here but in `libs.translate`. A kind is added by one file with
`check(resource, report)` and one row here.

What Istio's schema and webhook accept is accepted, and what they refuse is refused, with these
exceptions, on purpose. Refused here though not by Istio: durations that are not whole milliseconds,
a status of 600, which Envoy refuses, an empty `from` or `to` of an AuthorizationPolicy, which Istio
takes for everyone, URLs of modules that name no host, and texts, lengths and sizes for which Envoy
refuses whatever they stand in. Accepted though not by Istio: probes by gRPC in a WorkloadGroup, and
a field that is there but empty beside the one that excludes it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from libs.api import ingress as ingress_api
from libs.api import kubernetes, reasons, registry
from libs.api.extensions.traffic_extension import TrafficExtension
from libs.api.extensions.wasm_plugin import WasmPlugin
from libs.api.networking.destination_rule import DestinationRule
from libs.api.networking.envoy_filter import EnvoyFilter
from libs.api.networking.gateway import Gateway
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.networking.service_entry import ServiceEntry
from libs.api.networking.sidecar import Sidecar
from libs.api.networking.virtual_service import VirtualService
from libs.api.networking.workload_entry import WorkloadEntry
from libs.api.networking.workload_group import WorkloadGroup
from libs.api.problem import Problem
from libs.api.report import Report
from libs.api.resource import IstioResource, Resource
from libs.api.security.authorization_policy import AuthorizationPolicy
from libs.api.security.peer_authentication import PeerAuthentication
from libs.api.security.request_authentication import RequestAuthentication
from libs.api.telemetry.telemetry import Telemetry
from libs.api.validate import (
    authorization_policy,
    destination_rule,
    endpoint_slice,
    envoy_filter,
    gateway,
    ingress,
    peer_authentication,
    pod,
    proxy_config,
    request_authentication,
    service,
    service_entry,
    sidecar,
    telemetry,
    traffic_extension,
    virtual_service,
    wasm_plugin,
    workload_entry,
    workload_group,
)
from libs.api.validate.annotations import check_annotations

RULES: Mapping[type[Resource], Callable[[Any, Report], None]] = {
    kubernetes.EndpointSlice: endpoint_slice.check,
    ingress_api.Ingress: ingress.check,
    kubernetes.Pod: pod.check,
    kubernetes.Service: service.check,
    AuthorizationPolicy: authorization_policy.check,
    DestinationRule: destination_rule.check,
    Gateway: gateway.check,
    RequestAuthentication: request_authentication.check,
    TrafficExtension: traffic_extension.check,
    WasmPlugin: wasm_plugin.check,
    Telemetry: telemetry.check,
    ProxyConfig: proxy_config.check,
    EnvoyFilter: envoy_filter.check,
    WorkloadGroup: workload_group.check,
    WorkloadEntry: workload_entry.check,
    Sidecar: sidecar.check,
    ServiceEntry: service_entry.check,
    PeerAuthentication: peer_authentication.check,
    VirtualService: virtual_service.check,
}


def validate(resource: Resource) -> list[Problem]:
    """Return what is wrong with a resource that was decoded without problems.

    That its kind has no effect yet is one of the problems, besides its own.
    """
    report = Report(resource.ref)
    kind = registry.BY_TYPE[type(resource)]
    if not kind.effective:
        text = f"{kind.name} of {kind.group} is not supported yet, and has no effect"
        report.error("kind", reasons.UNSUPPORTED_KIND, text)
    if isinstance(resource, IstioResource):
        check_annotations(resource, report)
    if check := RULES.get(type(resource)):
        check(resource, report)
    return report.problems
