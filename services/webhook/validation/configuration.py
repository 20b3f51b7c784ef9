"""Configuration: about which resources API servers ask, as data.

Two configurations, as Istio has them: one for resources of this revision by name, one for those
that name none. They start with `failurePolicy: Ignore`; see `activation`.
"""

from typing import Any

from msgspec import Struct

API_VERSION = "admissionregistration.k8s.io/v1"
KIND = "ValidatingWebhookConfiguration"
PATH = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
REVISION_WEBHOOK = "rev.validation.istio.io"
DEFAULT_WEBHOOK = "validation.istio.io"
GROUPS = ("extensions.istio.io", "networking.istio.io", "security.istio.io", "telemetry.istio.io")
TIMEOUT_SECONDS = 10

_REVISION = "istio.io/rev"


class Target(Struct, frozen=True, kw_only=True):
    """Where the webhook is, and for whom it speaks."""

    revision: str = "default"
    system_namespace: str = "istio-system"
    service: str = "istiod"
    port: int = 443
    path: str = "/validate"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the configurations."""
        plain = self.revision == "default"
        of_revision = "istio-validator" if plain else f"istio-validator-{self.revision}"
        own = f"{of_revision}-{self.system_namespace}"
        return (own, "istiod-default-validator") if plain else (own,)


def configurations(target: Target) -> list[dict[str, Any]]:
    """Return the configurations to apply; only the default revision speaks for all others."""
    asked = [_configuration(target, target.names[0], REVISION_WEBHOOK, _named(target.revision))]
    if len(target.names) > 1:
        unnamed = {"key": _REVISION, "operator": "DoesNotExist"}
        asked.append(_configuration(target, target.names[1], DEFAULT_WEBHOOK, unnamed))
    return asked


def _named(revision: str) -> dict[str, Any]:
    return {"key": _REVISION, "operator": "In", "values": [revision]}


def _configuration(  # noqa: PLR0917 - as in the result
    target: Target, name: str, webhook: str, selected: dict[str, Any]
) -> dict[str, Any]:
    service = {
        "name": target.service,
        "namespace": target.system_namespace,
        "path": target.path,
        "port": target.port,
    }
    rule = {
        "apiGroups": list(GROUPS),
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["*"],
        "scope": "Namespaced",
    }
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "labels": {"app": "istiod", _REVISION: target.revision}},
        "webhooks": [
            {
                "name": webhook,
                "clientConfig": {"service": service},
                "rules": [rule],
                "objectSelector": {"matchExpressions": [selected]},
                "failurePolicy": "Ignore",
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "matchPolicy": "Equivalent",
                "timeoutSeconds": TIMEOUT_SECONDS,
            }
        ],
    }


def known_bad(target: Target, webhook: str) -> dict[str, Any]:
    """Return a resource that the webhook of this name must refuse, and nobody else would."""
    labels = {_REVISION: target.revision} if webhook == REVISION_WEBHOOK else {}
    port = {"number": 80, "name": "http", "protocol": "HTTP"}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {
            "name": "seine-known-bad",
            "namespace": target.system_namespace,
            "labels": labels,
            "annotations": {"internal.istio.io/webhook-always-reject": "true"},
        },
        "spec": {"selector": {"seine": "nobody"}, "servers": [{"port": port, "hosts": ["*"]}]},
    }
