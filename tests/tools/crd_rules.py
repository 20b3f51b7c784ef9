"""What the schema of the CRDs says beyond the types: rules that an API server checks itself.

They are those that Istio's own CRDs have, so that what one accepts the other does too; all other
rules are left to admission (`libs.api.validate`), which has all of these as well.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec import Struct

from libs.api.extensions import traffic_extension, wasm, wasm_plugin
from libs.api.networking import (
    destination_rule,
    envoy_filter,
    server_tls,
    service_entry,
    virtual_service,
    workload_entry,
    workload_group,
)
from libs.api.security import authorization_policy, peer_authentication, request_authentication
from libs.api.selector import TargetReference, WorkloadLabels, WorkloadSelector
from libs.api.telemetry import telemetry


class Rule(NamedTuple):
    """An expression of CEL that must hold, and what is said if it does not."""

    rule: str
    message: str


Schema = dict[str, object]

DURATION = Rule("duration(self) >= duration('1ms')", "must be a duration of at least 1ms")
PORT = Rule("0 < self && self <= 65535", "must be a port: 1 to 65535")
NO_WILDCARD = Rule('!self.contains("*")', "a selector has no wildcards")
NO_WILDCARD_KEYS = Rule('self.all(key, !key.contains("*"))', "a selector has no wildcards")
NO_EMPTY_KEYS = Rule("self.all(key, key.size() != 0)", "a selector has no empty keys")
UNIX_PATH = Rule(
    'self.startsWith("unix://") ? (self.substring(7, 8) == "/" || self.substring(7, 8) == "@") '
    ": true",
    "must be unix:// and an absolute path, or the name of an abstract socket",
)
UNIX_FILE = Rule(
    'self.startsWith("unix://") ? !self.endsWith("/") : true', "must be a file, not a folder"
)
PORT_NAMES = Rule(
    'self.all(key, size(key) < 63 && key.matches("^[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?$"))',
    "a port's name must be a DNS label",
)
_SCHEMES = '["", "file", "http", "https", "oci"]'
MODULE_URL = Rule(
    f"isURL(self) ? (url(self).getScheme() in {_SCHEMES}) : "
    f'(isURL("http://" + self) && url("http://" + self).getScheme() in {_SCHEMES})',
    "must be a URL of scheme file, http, https or oci",
)


def at_most_one(*fields: str) -> Rule:
    """Return the rule that at most one of the fields is there."""
    count = " + ".join(f"(has(self.{field}) ? 1 : 0)" for field in fields)
    return Rule(f"{count} <= 1", f"only one of {', '.join(fields)} may be set")


_ATTACHMENT = (at_most_one("selector", "targetRef", "targetRefs"),)
_ADDRESS_NEEDED = Rule("has(self.address) || has(self.network)", "needs an address or a network")

OF_STRUCTS: Mapping[type[Struct], tuple[Rule, ...]] = {
    authorization_policy.AuthorizationPolicySpec: _ATTACHMENT,
    authorization_policy.Source: (
        Rule(
            "(has(self.serviceAccounts) || has(self.notServiceAccounts)) ? "
            "(!has(self.principals) && !has(self.notPrincipals) && !has(self.namespaces) && "
            "!has(self.notNamespaces)) : true",
            "service accounts exclude principals and namespaces in one source",
        ),
    ),
    envoy_filter.EnvoyFilterSpec: (at_most_one("workloadSelector", "targetRefs"),),
    envoy_filter.ObjectMatch: (
        Rule(
            'has(self.context) ? ((self.context == "WAYPOINT") ? has(self.waypoint) : '
            "!has(self.waypoint)) : !has(self.waypoint)",
            "context: WAYPOINT and waypoint need each other",
        ),
    ),
    peer_authentication.PeerAuthenticationSpec: (
        Rule(
            "has(self.portLevelMtls) ? (((has(self.selector) && has(self.selector.matchLabels)) ? "
            "self.selector.matchLabels : {}).size() > 0) : true",
            "portLevelMtls needs a selector with labels",
        ),
    ),
    request_authentication.JwtRule: (at_most_one("jwksUri", "jwks_uri", "jwks"),),
    request_authentication.RequestAuthenticationSpec: _ATTACHMENT,
    server_tls.ServerTls: (
        at_most_one("credentialName", "credentialNames"),
        at_most_one("credentialNames", "tlsCertificates"),
    ),
    service_entry.ServiceEntrySpec: (
        at_most_one("workloadSelector", "endpoints"),
        Rule(
            '!((has(self.addresses) ? self.addresses : []).exists(k, k.contains("/")) && '
            '!((has(self.resolution) ? self.resolution : "NONE") in ["STATIC", "NONE"]))',
            "a block of addresses is only possible with NONE and STATIC",
        ),
        Rule(
            '((has(self.resolution) ? self.resolution : "NONE") == "NONE") ? '
            "!has(self.endpoints) : true",
            "with NONE there are no endpoints",
        ),
        Rule(
            '((has(self.resolution) ? self.resolution : "") == "DNS_ROUND_ROBIN") ? '
            "((has(self.endpoints) ? self.endpoints : []).size() <= 1) : true",
            "with DNS_ROUND_ROBIN there is one endpoint at most",
        ),
    ),
    telemetry.TagOverride: (
        Rule(
            '((has(self.operation) ? self.operation : "") == "UPSERT") ? '
            '(has(self.value) && self.value != "") : true',
            "UPSERT needs a value",
        ),
        Rule(
            '((has(self.operation) ? self.operation : "") == "REMOVE") ? !has(self.value) : true',
            "a tag that is removed has no value",
        ),
    ),
    telemetry.TelemetrySpec: _ATTACHMENT,
    traffic_extension.TrafficExtensionSpec: (
        at_most_one("selector", "targetRefs"),
        Rule("has(self.wasm) != has(self.lua)", "needs exactly one of wasm and lua"),
    ),
    wasm.EnvVar: (
        Rule(
            '(has(self.valueFrom) ? self.valueFrom : "") != "HOST" || !has(self.value)',
            "a value from the host cannot be set",
        ),
    ),
    wasm_plugin.WasmPluginSpec: _ATTACHMENT,
    workload_entry.WorkloadEntrySpec: (
        _ADDRESS_NEEDED,
        Rule(
            '(has(self.address) ? self.address : "").startsWith("unix://") ? '
            "!has(self.ports) : true",
            "a unix socket has no ports",
        ),
    ),
}
"""Rules about several fields of one Struct."""

OF_FIELDS: Mapping[tuple[type[Struct], str], tuple[Rule, ...]] = {
    (envoy_filter.WaypointMatch, "portNumber"): (PORT,),
    (peer_authentication.PeerAuthenticationSpec, "portLevelMtls"): (
        Rule("self.all(key, 0 < int(key) && int(key) <= 65535)", PORT.message),
    ),
    (request_authentication.JwtRule, "jwksUri"): (
        Rule('url(self).getScheme() in ["http", "https"]', "must begin with http:// or https://"),
    ),
    (service_entry.EntryPort, "number"): (PORT,),
    (service_entry.EntryPort, "targetPort"): (PORT,),
    (service_entry.ServiceEntrySpec, "ports"): (
        Rule("self.all(l1, self.exists_one(l2, l1.number == l2.number))", "a port is there twice"),
    ),
    (TargetReference, "namespace"): (
        Rule("self.size() == 0", "a policy only has targets in its own namespace"),
    ),
    (traffic_extension.WasmConfig, "url"): (MODULE_URL,),
    (wasm_plugin.WasmPluginSpec, "url"): (MODULE_URL,),
    (workload_entry.WorkloadEntrySpec, "address"): (UNIX_PATH, UNIX_FILE),
    (workload_entry.WorkloadEntrySpec, "ports"): (PORT_NAMES,),
    (workload_group.GrpcProbe, "port"): (PORT,),
    (workload_group.HttpProbe, "port"): (PORT,),
    (workload_group.HttpProbe, "scheme"): (
        Rule('self in ["", "HTTP", "HTTPS"]', "must be HTTP or HTTPS"),
    ),
    (workload_group.TcpProbe, "port"): (PORT,),
    (WorkloadSelector, "matchLabels"): (NO_WILDCARD_KEYS, NO_EMPTY_KEYS),
}
"""Rules about one field."""

OF_VALUES: Mapping[tuple[type[Struct], str], tuple[Rule, ...]] = {
    (service_entry.ServiceEntrySpec, "hosts"): (
        Rule('self != "*"', "a service must have a name, not a wildcard for all"),
    ),
    (WorkloadLabels, "labels"): (NO_WILDCARD,),
    (workload_entry.WorkloadEntrySpec, "ports"): (PORT,),
    (WorkloadSelector, "matchLabels"): (NO_WILDCARD,),
}
"""Rules about each item of a list, or each value of a mapping."""

_NAMED: Schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
_NUMBERED: Schema = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["number"]}
_SHA256: Schema = {"pattern": "(^$|^[a-f0-9]{64}$)"}

EXTRAS: Mapping[tuple[type[Struct], str], Schema] = {
    (request_authentication.ClaimHeader, "header"): {"pattern": "^[-_A-Za-z0-9]+$"},
    (service_entry.ServiceEntrySpec, "ports"): _NAMED,
    (TargetReference, "group"): {
        "pattern": r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    },
    (TargetReference, "kind"): {"pattern": "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$"},
    (traffic_extension.WasmConfig, "sha256"): _SHA256,
    (wasm.TrafficSelector, "ports"): _NUMBERED,
    (wasm.VmConfig, "env"): _NAMED,
    (wasm_plugin.WasmPluginSpec, "sha256"): _SHA256,
    (workload_group.HttpHeader, "name"): {"pattern": "^[-_A-Za-z0-9]+$"},
    (WorkloadSelector, "matchLabels"): {"maxProperties": 4096},
}
"""What else the schema of a field says."""

VALUE_EXTRAS: Mapping[tuple[type[Struct], str], Schema] = {
    (WorkloadSelector, "matchLabels"): {"maxLength": 63},
    (WorkloadLabels, "labels"): {"maxLength": 63},
}
"""What else the schema of each value of a field says."""

ONE_OF: Mapping[type[Struct], tuple[tuple[str, ...], ...]] = {
    authorization_policy.AuthorizationPolicySpec: (("provider",),),
    destination_rule.ConsistentHash: (
        ("httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"),
        ("ringHash", "maglev"),
    ),
    destination_rule.LoadBalancer: (("simple", "consistentHash"),),
    envoy_filter.ObjectMatch: (("listener", "routeConfiguration", "cluster", "waypoint"),),
    telemetry.CustomTag: (("literal", "environment", "header", "formatter"),),
    telemetry.MetricSelector: (("metric", "customMetric"),),
    traffic_extension.TrafficExtensionSpec: (("wasm", "lua"),),
    virtual_service.Abort: (("httpStatus", "grpcStatus", "http2Error"),),
    virtual_service.Body: (("string", "bytes"),),
    virtual_service.Delay: (("fixedDelay", "exponentialDelay"),),
    virtual_service.Redirect: (("port", "derivePort"),),
    virtual_service.StringMatch: (("exact", "prefix", "regex"),),
    workload_group.ReadinessProbe: (("httpGet", "tcpSocket", "exec", "grpc"),),
}
"""Groups of fields of a Struct, of each of which at most one is there."""

ALIASES: Mapping[tuple[type[Struct], str], str] = {
    (request_authentication.JwtRule, "jwksUri"): "jwks_uri",
    (virtual_service.HttpRoute, "mirrorPercent"): "mirror_percent",
}
"""Second spellings that an API server must not prune; admission knows all of them."""

ANY_LENGTH: frozenset[tuple[type[Struct], str]] = frozenset(
    {
        (destination_rule.HttpCookie, "ttl"),
        (destination_rule.RetryBudget, "budgetInterval"),
        (destination_rule.TcpPool, "idleTimeout"),
    }
)
"""Durations that may be 0."""

WITHOUT: Mapping[type[Struct], tuple[type[Struct], Rule]] = {
    workload_group.WorkloadGroupSpec: (workload_entry.WorkloadEntrySpec, _ADDRESS_NEEDED),
}
"""Rules of a Struct that do not hold within another: a template has no address yet."""
