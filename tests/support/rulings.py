"""Manifests made from the part that a test is about, and what `libs.api.check` says of them."""

from textwrap import dedent, indent

from libs.api import reasons
from libs.api.check import check
from libs.api.problem import Problem
from libs.api.registry import KINDS


def manifest(kind: str, spec: str, *, metadata: str = "", name: str = "it") -> str:
    """Return the text of one Istio resource in namespace `here`; `spec` is YAML."""
    api_version = next(
        it.api_versions[0] for it in KINDS if it.name == kind and it.group.endswith(".istio.io")
    )
    more = indent(dedent(metadata).strip("\n"), "  ")
    return (
        f"apiVersion: {api_version}\n"
        f"kind: {kind}\n"
        f"metadata:\n  name: {name}\n  namespace: here\n{more}\n"
        f"spec:\n{indent(dedent(spec).strip(), '  ')}\n"
    )


def ruling(text: str) -> list[str]:
    """Return `path Reason` of each error in a text, then `warning path Reason` of each warning.

    That a kind has no effect yet is left out: the rules are the same before and after.
    """
    found: list[str] = []
    for finding in check(text, "test.yaml"):
        errors = [error for error in finding.errors if not _of_unsupported_kind(error)]
        found += [f"{error.path} {error.reason}" for error in errors]
        found += [f"warning {warning.path} {warning.reason}" for warning in finding.warnings]
    return found


def _of_unsupported_kind(problem: Problem) -> bool:
    return problem.reason == reasons.UNSUPPORTED_KIND


def of_virtual_service(spec: str) -> list[str]:
    """Return the ruling on a VirtualService."""
    return ruling(manifest("VirtualService", spec))


def of_route(fields: str) -> list[str]:
    """Return the ruling on the fields of one HTTP route that leads to `reviews`."""
    body = indent(dedent(fields).strip(), "    ")
    spec = f"hosts: [reviews]\nhttp:\n  - route: [{{destination: {{host: reviews}}}}]\n{body}"
    return [line.replace("spec.http[0].", "") for line in of_virtual_service(spec)]


def of_action(fields: str) -> list[str]:
    """Return the ruling on one HTTP route of nothing but `fields`."""
    body = indent(dedent(fields).strip(), "    ")
    return [
        line.replace("spec.http[0].", "")
        for line in of_virtual_service(f"hosts: [reviews]\nhttp:\n  - name: it\n{body}")
    ]


def of_destination_rule(spec: str) -> list[str]:
    """Return the ruling on a DestinationRule."""
    return ruling(manifest("DestinationRule", spec))


def of_traffic_policy(fields: str) -> list[str]:
    """Return the ruling on a traffic policy."""
    body = indent(dedent(fields).strip(), "  ")
    found = of_destination_rule(f"host: reviews\ntrafficPolicy:\n{body}")
    return [line.replace("spec.trafficPolicy.", "") for line in found]


def of_policy(spec: str) -> list[str]:
    """Return the ruling on an AuthorizationPolicy."""
    return ruling(manifest("AuthorizationPolicy", spec))


def of_rule(fields: str, action: str = "ALLOW") -> list[str]:
    """Return the ruling on the fields of one rule of an AuthorizationPolicy."""
    body = indent(dedent(fields).strip(), "  ")
    found = of_policy(f"action: {action}\nrules:\n- {body.lstrip()}")
    return [line.replace("spec.rules[0].", "") for line in found]
