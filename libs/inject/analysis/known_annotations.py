"""Known annotations: every one that Istio documents, what it belongs on, and how settled it is.

What an annotation means stands where it is read. Here are also those that have no effect in this
mesh, because a name that exists is no slip of the pen.
"""

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct

ANY = frozenset({"*"})


class Stage(StrEnum):
    """What Istio promises of an annotation."""

    SETTLED = "settled"
    ALPHA = "alpha"
    DEPRECATED = "deprecated"
    WRITTEN = "written"  # by the mesh itself: nobody is told how settled it is


class Known(Struct, frozen=True):
    """The kinds on which an annotation is read; of a deprecated one, what to use instead."""

    kinds: frozenset[str]
    stage: Stage = Stage.ALPHA
    instead: str = ""


def _rows(
    kinds: str, names: str, stage: Stage = Stage.ALPHA, *, instead: str = ""
) -> dict[str, Known]:
    known = Known(frozenset(kinds.split()), stage, instead)
    return dict.fromkeys(names.split(), known)


def _below(prefix: str, names: str) -> str:
    return " ".join(f"{prefix}/{name}" for name in names.split())


_SIDECAR = "sidecar.istio.io"
_DEFAULTS = "the annotation proxy.istio.io/config"

KNOWN: Mapping[str, Known] = {
    **_rows(
        "Pod",
        _below(
            _SIDECAR,
            "proxyImage proxyImageType proxyCPU proxyCPULimit proxyMemory interceptionMode "
            "bootstrapOverride userVolume logLevel componentLogLevel agentLogLevel nativeSidecar "
            "rewriteAppHTTPProbers capNetBindService statsHistogramBuckets statsHistogramBins "
            "statsFlushInterval statsEvictionInterval",
        )
        + " "
        + _below(
            "traffic.sidecar.istio.io",
            "includeOutboundIPRanges excludeOutboundIPRanges excludeInboundPorts "
            "includeOutboundPorts excludeOutboundPorts excludeInterfaces",
        )
        + " "
        + _below(
            "readiness.status.sidecar.istio.io",
            "initialDelaySeconds periodSeconds failureThreshold applicationPorts",
        )
        + " status.sidecar.istio.io/port inject.istio.io/templates"
        " prometheus.istio.io/merge-metrics prometheus.istio.io/scrape-targets"
        " prometheus.istio.io/secure-port istio.io/reroute-virtual-interfaces"
        " ambient.istio.io/bypass-inbound-capture ambient.istio.io/dns-capture",
    ),
    **_rows(
        "Pod",
        "sidecar.istio.io/proxyMemoryLimit sidecar.istio.io/userVolumeMount proxy.istio.io/config "
        "traffic.sidecar.istio.io/includeInboundPorts ambient.istio.io/redirection",
        Stage.SETTLED,
    ),
    **_rows(
        "Pod",
        "sidecar.istio.io/status proxy.istio.io/overrides istio.io/rev",
        Stage.WRITTEN,
    ),
    **_rows(
        "Pod", "sidecar.istio.io/inject", Stage.DEPRECATED, instead="the label of the same name"
    ),
    **_rows(
        "Pod",
        _below(
            _SIDECAR,
            "discoveryAddress statsInclusionPrefixes statsInclusionSuffixes "
            "statsInclusionRegexps statsCompression extraStatTags",
        ),
        Stage.DEPRECATED,
        instead=_DEFAULTS,
    ),
    **_rows(
        "Pod",
        "traffic.sidecar.istio.io/kubevirtInterfaces",
        Stage.DEPRECATED,
        instead="istio.io/reroute-virtual-interfaces",
    ),
    **_rows(
        "Service",
        "alpha.istio.io/kubernetes-serviceaccounts alpha.istio.io/canonical-serviceaccounts",
        Stage.DEPRECATED,
        instead="subjectAltNames of a DestinationRule or ServiceEntry",
    ),
    **_rows(
        "Service",
        "networking.istio.io/exportTo experimental.istio.io/disable-gateway-port-translation",
    ),
    **_rows("Service", "traffic.istio.io/nodeSelector", Stage.SETTLED),
    **_rows(
        "Namespace Service ServiceEntry",
        "networking.istio.io/traffic-distribution istio.io/use-waypoint-canary-weight",
    ),
    **_rows("Namespace", "topology.istio.io/controlPlaneClusters"),
    **_rows("Ingress", "kubernetes.io/ingress.class", Stage.SETTLED),
    **_rows("AuthorizationPolicy", "istio.io/dry-run"),
    **_rows("EnvoyFilter", "envoyfilter.istio.io/referenced-services"),
    **_rows(
        "WorkloadEntry",
        "istio.io/autoRegistrationGroup istio.io/workloadController istio.io/connectedAt "
        "istio.io/disconnectedAt",
        Stage.WRITTEN,
    ),
    **_rows(
        "Gateway GatewayClass",
        "gateway.istio.io/service-account gateway.istio.io/name-override "
        "networking.istio.io/service-type ambient.istio.io/waypoint-inbound-binding",
    ),
    **_rows(
        "*",
        "galley.istio.io/analyze-suppress gateway.istio.io/controller-version "
        "internal.istio.io/webhook-always-reject internal.istio.io/parents "
        "internal.istio.io/parent-namespace",
        Stage.WRITTEN,
    ),
}
