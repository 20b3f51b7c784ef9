"""Rules about annotations of Istio's kinds."""

from libs.api import reasons
from libs.api.networking.envoy_filter import EnvoyFilter
from libs.api.path import Path
from libs.api.report import Report
from libs.api.resource import IstioResource
from libs.api.security.authorization_policy import Action, AuthorizationPolicy

DRY_RUN = "istio.io/dry-run"
REFERENCED = "envoyfilter.istio.io/referenced-services"
ALWAYS_REJECT = "internal.istio.io/webhook-always-reject"
FORBIDDEN = frozenset(
    {ALWAYS_REJECT, "internal.istio.io/parents", "internal.istio.io/parent-namespace"}
)
_PATH: Path = ((None, "metadata"), "annotations")
_BOOLEANS = frozenset(
    {"1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"}
)


def check_annotations(resource: IstioResource, report: Report) -> None:
    """Report annotations that only the mesh itself may set, and those that change nothing."""
    annotations = resource.metadata.annotations
    for name in sorted(FORBIDDEN.intersection(annotations)):
        text = "may not be set: the mesh keeps it for itself"
        report.error((_PATH, name), reasons.INVALID_ANNOTATION, text)
    if REFERENCED in annotations and isinstance(resource, EnvoyFilter):
        text = "has no effect yet: proxies see what their Sidecar says, whatever patches refer to"
        report.warning((_PATH, REFERENCED), reasons.NO_EFFECT, text)
    value = annotations.get(DRY_RUN)
    if value is None:
        return
    place = (_PATH, DRY_RUN)
    if not isinstance(resource, AuthorizationPolicy):
        report.error(place, reasons.INVALID_ANNOTATION, "is for AuthorizationPolicies only")
    elif resource.spec.action not in {Action.ALLOW, Action.DENY}:
        report.error(place, reasons.INVALID_ANNOTATION, "is for the actions ALLOW and DENY only")
    elif value not in _BOOLEANS:
        text = f"{value[:100]!r} is neither true nor false"
        report.error(place, reasons.INVALID_ANNOTATION, text)
