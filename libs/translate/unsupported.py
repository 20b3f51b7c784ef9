"""Unsupported: fields that are Istio's and have no effect here yet, said one by one.

A resource that asks for more than the mesh can do must not look as if it had got it. Whatever
translation leaves out stands here, and goes from here when it is done.
"""

from collections.abc import Iterator

from libs.api import reasons
from libs.api.networking.virtual_service import VirtualService, VirtualServiceSpec
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from libs.model.traffic import MESH_GATEWAY
from libs.translate.state import Derived
from libs.translate.view import View

_CLAIM = "@request.auth.claims"


def of_routing(_: View, resource: VirtualService) -> Derived:
    """Return what a VirtualService asks for in vain."""
    found: list[Problem] = []
    if resource.spec.gateways and MESH_GATEWAY not in resource.spec.gateways:
        return Derived(problems=tuple(_at_gateways(resource)))  # which match claims
    for index, rule in enumerate(resource.spec.http):
        place = f"spec.http[{index}]"
        for number, match in enumerate(rule.match):
            if any(name.startswith(_CLAIM) for name in (*match.headers, *match.without_headers)):
                text = "claims of a token are matched at gateways only: this match never holds"
                found.append(_problem(resource.ref, f"{place}.match[{number}].headers", text))
    return Derived(problems=tuple(found))


def _at_gateways(resource: VirtualService) -> Iterator[Problem]:
    """Yield what only sidecars do: at a gateway every connection is for the gateway itself."""
    text = "gateways do not look at addresses, as in Istio; the rest counts"
    for place, subnets in _subnets(resource.spec):
        if subnets:
            path = f"{place}.destinationSubnets"
            yield Problem(resource.ref, path, reasons.NO_EFFECT, text, Severity.WARNING)


def _subnets(spec: VirtualServiceSpec) -> Iterator[tuple[str, tuple[str, ...]]]:
    for index, tls in enumerate(spec.tls):
        for number, named in enumerate(tls.match):
            yield f"spec.tls[{index}].match[{number}]", named.destination_subnets
    for index, tcp in enumerate(spec.tcp):
        for number, match in enumerate(tcp.match):
            yield f"spec.tcp[{index}].match[{number}]", match.destination_subnets


def _problem(ref: Ref, path: str, text: str, *, severity: Severity = Severity.ERROR) -> Problem:
    return Problem(ref, path, reasons.UNSUPPORTED_FIELD, text, severity)
