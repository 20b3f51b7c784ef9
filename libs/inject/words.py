"""Words: labels, annotations and names by which Kubernetes, Istio and we know each other.

Istio's names, so that manifests written for it work unchanged.
"""

INJECT = "sidecar.istio.io/inject"
"""Label of a pod (annotation: the old form): `true` or `false`."""
STATUS = "sidecar.istio.io/status"
"""Annotation that injection writes: what it added, as JSON."""
OVERRIDES = "proxy.istio.io/overrides"
"""Annotation that injection writes: containers that the pod declared itself, as JSON."""
STOP_AFTER_DRAIN = "seine.io/stop-after-drain"
"""Annotation of a pod, our own: `false` has its containers told to end at once."""
TEMPLATES = "inject.istio.io/templates"
REVISION = "istio.io/rev"
"""Label of a namespace or pod, and annotation that injection writes."""
NAMESPACE_SWITCH = "istio-injection"
TLS_MODE = "security.istio.io/tlsMode"
CANONICAL_NAME = "service.istio.io/canonical-name"
CANONICAL_REVISION = "service.istio.io/canonical-revision"
WORKLOAD_NAME = "service.istio.io/workload-name"
NETWORK = "topology.istio.io/network"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
DEFAULT_LOGS_CONTAINER = "kubectl.kubernetes.io/default-logs-container"
VIRTUAL_INTERFACES = "istio.io/reroute-virtual-interfaces"

PROXY = "istio-proxy"
INIT = "istio-init"
VALIDATION = "istio-validation"
OWN_CONTAINERS = frozenset({PROXY, INIT, VALIDATION, "enable-core-dump"})
"""Containers that an injector of Istio's kind may have added, whatever its templates are now."""

SIDECAR_TEMPLATE = "sidecar"
GATEWAY_TEMPLATE = "gateway"
GRPC_TEMPLATES = frozenset({"grpc-agent", "grpc-simple"})
"""For gRPC programs that speak xDS themselves. The second is Istio's without an agent."""
NOT_YET = frozenset({"waypoint", "kube-gateway"})
"""Istio's other templates."""
ISTIO_TEMPLATES = frozenset({SIDECAR_TEMPLATE, GATEWAY_TEMPLATE}) | GRPC_TEMPLATES | NOT_YET

IGNORED_NAMESPACES = frozenset(
    {"kube-system", "kube-public", "kube-node-lease", "local-path-storage"}
)
