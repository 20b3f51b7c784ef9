"""The Gateway API's definitions: which of a cluster's CRDs are its kinds, and how old they are.

Nothing follows these kinds yet (`libs.api.registry` has no Struct for them). Whoever sees their
definitions says so, because people who apply a Gateway or an HTTPRoute wait for an effect.
"""

from collections.abc import Iterable, Mapping

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.api.registry import GATEWAY_API, GATEWAY_API_TRIALS, KINDS
from libs.model.ids import ref

DEFINITION = "CustomResourceDefinition"
BUNDLE = "gateway.networking.k8s.io/bundle-version"
"""The annotation that says which release of the Gateway API a definition is from."""

MINIMUM: Mapping[str, tuple[int, int]] = {
    "backendtlspolicies": (1, 4),
    "grpcroutes": (1, 1),
    "tcproutes": (1, 6),
    "tlsroutes": (1, 5),
}
"""The first releases whose kinds are what Istio reads; it passes older ones by."""

_GROUPS = frozenset({GATEWAY_API, GATEWAY_API_TRIALS})
_NAMES = {
    f"{kind.plural}.{kind.group}": kind.name
    for kind in KINDS
    if kind.group in _GROUPS and kind.struct is None
}


def is_unfollowed(name: str) -> bool:
    """Tell whether a CRD, `<plural>.<group>`, defines a kind that nothing follows yet."""
    return name in _NAMES


def unfollowed(names: Iterable[str]) -> list[Problem]:
    """Return what people should know of the CRDs of these names, one sentence for all of them."""
    known = sorted(name for name in names if name in _NAMES)
    if not known:
        return []
    kinds = [_NAMES[name] for name in known]
    text = (
        f"the cluster defines kinds of the Gateway API ({', '.join(kinds)}), and Seine does not "
        "follow them yet: objects of these kinds have no effect"
    )
    place = ref(DEFINITION, "", known[0])
    return [Problem(place, "metadata.name", reasons.UNSUPPORTED_KIND, text, Severity.WARNING)]


def outdated(name: str, bundle: str) -> list[Problem]:
    """Return that a CRD is too old; `bundle` is its release, `v1.4.0`, empty if it names none."""
    plural, _, group = name.partition(".")
    minimum = MINIMUM.get(plural) if group == GATEWAY_API else None
    found = _release(bundle)
    if minimum is None or found is None or found >= minimum:
        return []
    wanted = f"v{minimum[0]}.{minimum[1]}"
    text = f"is of the Gateway API's release {bundle[:40]}; Istio reads it from {wanted} on"
    path = f"metadata.annotations[{BUNDLE}]"
    place = ref(DEFINITION, "", name)
    return [Problem(place, path, reasons.OUTDATED_DEFINITION, text, Severity.WARNING)]


def _release(bundle: str) -> tuple[int, int] | None:
    """Return major and minor of `v1.4.0-rc.1`; None if it is no release, such as `main`."""
    major, _, rest = bundle.removeprefix("v").partition(".")
    minor = rest.partition(".")[0]
    if not all(it.isascii() and it.isdigit() and len(it) < 6 for it in (major, minor)):
        return None
    return int(major), int(minor)
