"""Absent pages: debug pages that istiod has and this control plane has not, and why.

Who asks for one, by a browser or with `istioctl x internal-debug`, is told where else to look.
"""

from collections.abc import Mapping

REASONS: Mapping[str, str] = {
    "ambientz": "there is no ambient mode",
    "cachez": "what is kept are classes of proxies: see push_status, and /metrics for Redis",
    "force_disconnect": "no page changes anything: delete the pod, or restart its proxy",
    "inject": "the webhook injects; its templates, if there are any, are in the ConfigMap "
    "istio-sidecar-injector, and `seinectl inject -f FILE` shows what comes of them",
    "krtz": "there are no collections of Go's: see registryz, endpointShardz and configz",
    "mcsz": "there are no imports of services from other clusters",
}
