"""Registry: the one list of kinds. A new kind is one file with its Struct and one row here.

Four sorts of kinds are told apart, so that no configuration of the mesh is dropped in silence:
those with a Struct are read; of those, the ones that are not `effective` are judged too, and then
refused, because nothing comes of them yet; those of our groups without a Struct are known by name
and refused; kinds of other groups, and Kubernetes' own that the mesh does not read, are none of our
business and are passed over. Whoever translates a kind drops its `effective=False`.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum

from msgspec import Struct

from libs.api import ingress, kubernetes
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
from libs.api.resource import Resource
from libs.api.secret import Secret
from libs.api.security.authorization_policy import AuthorizationPolicy
from libs.api.security.peer_authentication import PeerAuthentication
from libs.api.security.request_authentication import RequestAuthentication
from libs.api.telemetry.telemetry import Telemetry

DEFAULT_NAMESPACE = "default"

NETWORKING = "networking.istio.io"
SECURITY = "security.istio.io"
TELEMETRY = "telemetry.istio.io"
EXTENSIONS = "extensions.istio.io"
INSTALL = "install.istio.io"
GATEWAY_API = "gateway.networking.k8s.io"
GATEWAY_API_TRIALS = "gateway.networking.x-k8s.io"
DISCOVERY = "discovery.k8s.io"
INGRESS = "networking.k8s.io"
CORE = ""


class Kind(Struct, frozen=True):
    """One kind; `versions` are all that are served, the preferred one first."""

    group: str
    name: str
    plural: str
    versions: tuple[str, ...]
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    struct: type[Resource] | None = None  # None: known by name only, and refused
    effective: bool = True  # False: read and judged in full, but refused as not translated yet

    @property
    def api_versions(self) -> tuple[str, ...]:
        """The values of `apiVersion` under which the kind is known."""
        prefix = f"{self.group}/" if self.group else ""
        return tuple(prefix + version for version in self.versions)


class Unread(Enum):
    """Why there is no Kind for a document."""

    IGNORED = "ignored"  # of a group, or a kind of Kubernetes, that the mesh does not read
    UNKNOWN_KIND = "unknown kind"
    UNKNOWN_VERSION = "unknown version"


_V1 = ("v1",)
_V1_BETA = ("v1", "v1beta1")
_V1_BETA_ALPHA = ("v1", "v1beta1", "v1alpha3")

KINDS: tuple[Kind, ...] = (
    Kind(CORE, "Namespace", "namespaces", _V1, False, ("ns",), kubernetes.Namespace),
    Kind(CORE, "Node", "nodes", _V1, False, ("no",), kubernetes.Node),
    Kind(CORE, "Service", "services", _V1, True, ("svc",), kubernetes.Service),
    Kind(CORE, "ServiceAccount", "serviceaccounts", _V1, True, ("sa",), kubernetes.ServiceAccount),
    Kind(CORE, "Pod", "pods", _V1, True, ("po",), kubernetes.Pod),
    Kind(CORE, "Secret", "secrets", _V1, True, (), Secret),
    Kind(CORE, "ConfigMap", "configmaps", _V1, True, ("cm",), kubernetes.ConfigMap),
    Kind(INGRESS, "Ingress", "ingresses", _V1, True, ("ing",), ingress.Ingress),
    Kind(INGRESS, "IngressClass", "ingressclasses", _V1, False, (), ingress.IngressClass),
    Kind(DISCOVERY, "EndpointSlice", "endpointslices", _V1, True, (), kubernetes.EndpointSlice),
    Kind(
        NETWORKING,
        "VirtualService",
        "virtualservices",
        _V1_BETA_ALPHA,
        True,
        ("vs",),
        VirtualService,
    ),
    Kind(
        NETWORKING,
        "DestinationRule",
        "destinationrules",
        _V1_BETA_ALPHA,
        True,
        ("dr",),
        DestinationRule,
    ),
    Kind(
        SECURITY,
        "PeerAuthentication",
        "peerauthentications",
        _V1_BETA,
        True,
        ("pa",),
        PeerAuthentication,
    ),
    Kind(
        SECURITY,
        "AuthorizationPolicy",
        "authorizationpolicies",
        _V1_BETA,
        True,
        ("ap",),
        AuthorizationPolicy,
    ),
    Kind(
        NETWORKING,
        "Gateway",
        "gateways",
        _V1_BETA_ALPHA,
        True,
        ("gw",),
        Gateway,
    ),
    Kind(
        SECURITY,
        "RequestAuthentication",
        "requestauthentications",
        _V1_BETA,
        True,
        ("ra",),
        RequestAuthentication,
    ),
    Kind(
        NETWORKING,
        "ServiceEntry",
        "serviceentries",
        _V1_BETA_ALPHA,
        True,
        ("se",),
        ServiceEntry,
    ),
    Kind(NETWORKING, "Sidecar", "sidecars", _V1_BETA_ALPHA, True, (), Sidecar),
    Kind(
        NETWORKING,
        "WorkloadEntry",
        "workloadentries",
        _V1_BETA_ALPHA,
        True,
        ("we",),
        WorkloadEntry,
    ),
    Kind(
        NETWORKING,
        "WorkloadGroup",
        "workloadgroups",
        _V1_BETA_ALPHA,
        True,
        ("wg",),
        WorkloadGroup,
    ),
    Kind(NETWORKING, "EnvoyFilter", "envoyfilters", ("v1alpha3",), True, (), EnvoyFilter),
    Kind(EXTENSIONS, "WasmPlugin", "wasmplugins", ("v1alpha1",), True, (), WasmPlugin),
    Kind(
        EXTENSIONS,
        "TrafficExtension",
        "trafficextensions",
        ("v1alpha1",),
        True,
        (),
        TrafficExtension,
    ),
    Kind(
        NETWORKING,
        "ProxyConfig",
        "proxyconfigs",
        ("v1beta1",),
        True,
        (),
        ProxyConfig,
    ),
    Kind(
        TELEMETRY,
        "Telemetry",
        "telemetries",
        ("v1", "v1alpha1"),
        True,
        ("telemetry",),
        Telemetry,
    ),
    # Known by name, without a Struct yet.
    Kind(INSTALL, "IstioOperator", "istiooperators", ("v1alpha1",), True, ("iop", "io")),
    Kind(GATEWAY_API, "GatewayClass", "gatewayclasses", _V1_BETA, False, ("gc",)),
    Kind(GATEWAY_API, "Gateway", "gateways", _V1_BETA, True, ("gtw",)),
    Kind(GATEWAY_API, "HTTPRoute", "httproutes", _V1_BETA),
    Kind(GATEWAY_API, "GRPCRoute", "grpcroutes", ("v1", "v1alpha2")),
    Kind(GATEWAY_API, "TLSRoute", "tlsroutes", ("v1", "v1alpha3", "v1alpha2")),
    Kind(GATEWAY_API, "TCPRoute", "tcproutes", ("v1", "v1alpha2")),
    Kind(GATEWAY_API, "UDPRoute", "udproutes", ("v1", "v1alpha2")),
    Kind(GATEWAY_API, "ListenerSet", "listenersets", ("v1",), True, ("lset",)),
    Kind(GATEWAY_API, "ReferenceGrant", "referencegrants", _V1_BETA, True, ("refgrant",)),
    Kind(
        GATEWAY_API,
        "BackendTLSPolicy",
        "backendtlspolicies",
        ("v1", "v1alpha3"),
        True,
        ("btlspolicy",),
    ),
    Kind(GATEWAY_API_TRIALS, "XBackend", "xbackends", ("v1alpha1",)),
    Kind(GATEWAY_API_TRIALS, "XBackendTrafficPolicy", "xbackendtrafficpolicies", ("v1alpha1",)),
    Kind(GATEWAY_API_TRIALS, "XListenerSet", "xlistenersets", ("v1alpha1",)),
    Kind(GATEWAY_API_TRIALS, "XMesh", "xmeshes", ("v1alpha1",), False),
)

IGNORED_CORE = frozenset(
    {
        "Binding",
        "ComponentStatus",
        "Endpoints",
        "Event",
        "LimitRange",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PodTemplate",
        "ReplicationController",
        "ResourceQuota",
    }
)
"""Kinds of the core group that a folder of manifests may hold and the mesh does not read."""

BY_NAME: Mapping[tuple[str, str], Kind] = {(kind.group, kind.name): kind for kind in KINDS}
GROUPS: Mapping[str, str] = {kind.name: kind.group for kind in reversed(KINDS)}
"""The group of each kind that is named without its group; of several kinds, the first of KINDS."""

BY_TYPE: Mapping[type[Resource], Kind] = {kind.struct: kind for kind in KINDS if kind.struct}
_OUR_GROUPS = frozenset(kind.group for kind in KINDS) - {INGRESS}


def find(api_version: str, kind: str) -> Kind | Unread:
    """Return what a document with this `apiVersion` and `kind` is."""
    group, version = split(api_version)
    found = BY_NAME.get((group, kind))
    if found is not None:
        return found if version in found.versions else Unread.UNKNOWN_VERSION
    if group == CORE:
        return Unread.IGNORED if kind in IGNORED_CORE else Unread.UNKNOWN_KIND
    return Unread.UNKNOWN_KIND if _is_ours(group) else Unread.IGNORED


def split(api_version: str) -> tuple[str, str]:
    """Return group and version; the core group is empty."""
    group, _, version = api_version.rpartition("/")
    return group, version


def suggestion(api_version: str, kind: str) -> str:
    """Return the `apiVersion/kind` that was probably meant, or an empty text."""
    group, _ = split(api_version[:_MAX_SUGGESTED])
    same_kind = [known for known in KINDS if known.name == kind]
    same_group = {known.name: known for known in KINDS if known.group == group}
    near = get_close_matches(kind[:_MAX_SUGGESTED], same_group, n=1)
    found = same_kind[:1] or [same_group[name] for name in near]
    return f"{found[0].api_versions[0]} {found[0].name}" if found else ""


_MAX_SUGGESTED = 80
_ISTIO = ".istio.io"


def _is_ours(group: str) -> bool:
    """Tell whether `group` is one of ours, or so near to one that it must be a slip of the pen."""
    if group in _OUR_GROUPS or group.endswith(_ISTIO):
        return True
    foreign = "." not in group or group.endswith("k8s.io") or len(group) > _MAX_SUGGESTED
    return not foreign and bool(get_close_matches(group, _OUR_GROUPS, n=1, cutoff=0.85))
