"""Without effect: annotations of Istio's that change nothing in this mesh, and why.

Injection warns of those of pods, `seinectl analyze` of all of them. Those of Istio's own kinds are
judged with their resources, in `libs.api.validate.annotations`.
"""

from collections.abc import Mapping

_HISTOGRAMS = "has no effect yet: histograms have Envoy's own buckets and are sent as they are"
_AMBIENT = "has no effect: there is no ambient mode"
_WAYPOINTS = "has no effect: there are no waypoints"

WHY: Mapping[str, Mapping[str, str]] = {
    "Pod": {
        "sidecar.istio.io/statsHistogramBuckets": _HISTOGRAMS,
        "sidecar.istio.io/statsHistogramBins": _HISTOGRAMS,
        "sidecar.istio.io/statsFlushInterval": "has no effect yet: Envoy flushes as it does",
        "sidecar.istio.io/statsEvictionInterval": "has no effect yet: statistics are not evicted",
        "prometheus.istio.io/scrape-targets": "has no effect yet: one target is merged",
        "prometheus.istio.io/secure-port": "has no effect yet: metrics are scraped in clear text",
        "readiness.status.sidecar.istio.io/applicationPorts": (
            "has no effect: a proxy is ready when it has its configuration"
        ),
        "ambient.istio.io/bypass-inbound-capture": _AMBIENT,
        "ambient.istio.io/dns-capture": _AMBIENT,
        "ambient.istio.io/redirection": _AMBIENT,
    },
    "Service": {
        "traffic.istio.io/nodeSelector": (
            "has no effect yet: gateways are called at addresses of their own, not at nodes"
        ),
        "experimental.istio.io/disable-gateway-port-translation": (
            "has no effect as an annotation: the label of that name has one"
        ),
        "istio.io/use-waypoint-canary-weight": _WAYPOINTS,
    },
    "ServiceEntry": {"istio.io/use-waypoint-canary-weight": _WAYPOINTS},
    "Namespace": {
        "istio.io/use-waypoint-canary-weight": _WAYPOINTS,
        "networking.istio.io/traffic-distribution": (
            "has no effect on a namespace yet: write it on its Services and ServiceEntries"
        ),
        "topology.istio.io/controlPlaneClusters": (
            "has no effect: a control plane serves the cluster in which it is"
        ),
    },
}
"""By the kind that an annotation belongs on, and by its name."""
