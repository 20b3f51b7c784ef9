"""Tags: other names under which namespaces ask for a revision, as the objects that make one.

A tag is a webhook configuration with the tag in its selectors that leads to where the revision's
own leads. The webhook has to mend that configuration's `caBundle` when roots change, and its role
names what it may patch; so each tag brings a role for itself, and no other role has to change.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from libs.inject import webhooks, words
from libs.inject.webhooks import Target

LABEL = "istio.io/tag"
DEFAULT_NAMESPACE = "istio-system"
MAX_NAME = 40
"""Of a tag: it stands in labels and in longer names."""

_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_RBAC = "rbac.authorization.k8s.io"


class Tag(Struct, frozen=True, kw_only=True):
    """A tag as it shall be. `client` is the `clientConfig` of the revision's own webhooks."""

    name: str
    revision: str
    client: Mapping[str, Any]
    system_namespace: str = DEFAULT_NAMESPACE
    namespaces_by_default: bool = False
    reinvocation: str = "Never"


def wrong_name(name: str) -> str:
    """Return why a tag cannot be called so, or an empty text."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        return f"must be lower-case letters, digits or '-', at most {MAX_NAME} in all"
    return ""


def configuration_name(tag: str, system_namespace: str) -> str:
    """Return the name of the configuration of a tag."""
    name = f"istio-revision-tag-{tag}"
    return name if system_namespace == DEFAULT_NAMESPACE else f"{name}-{system_namespace}"


def role_name(tag: str, system_namespace: str) -> str:
    """Return the name of the role of a tag, and of its binding."""
    return f"seine-{configuration_name(tag, system_namespace)}"


def own_configuration(configurations: Sequence[Any], revision: str) -> Mapping[str, Any] | None:
    """Return the configuration of a revision itself among injectors' configurations."""
    for one in configurations:
        labels = one["metadata"].get("labels") or {}
        if labels.get(words.REVISION) == revision and LABEL not in labels and is_injector(one):
            return dict(one)
    return None


def is_injector(configuration: Mapping[str, Any]) -> bool:
    """Tell whether a configuration is an injector's."""
    hooks = configuration.get("webhooks") or ()
    return any(str(one.get("name", "")).endswith(webhooks.SUFFIX) for one in hooks)


def objects(tag: Tag) -> list[dict[str, Any]]:
    """Return what makes a tag, in the order in which it has to be applied.

    The role comes before what it is for. An injector at a URL is not ours and needs none.
    """
    target = Target(
        revision=tag.revision,
        system_namespace=tag.system_namespace,
        tag=tag.name,
        namespaces_by_default=tag.namespaces_by_default,
        reinvocation=tag.reinvocation,
    )
    made = webhooks.configuration(target)
    made["metadata"]["name"] = configuration_name(tag.name, tag.system_namespace)
    made["webhooks"] = [{**one, "clientConfig": dict(tag.client)} for one in made["webhooks"]]
    service = tag.client.get("service")
    return [*(_grant(tag, service) if service else ()), made]


def _grant(tag: Tag, service: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return role and binding, for the account: that has no revision in its name."""
    name = role_name(tag.name, tag.system_namespace)
    metadata = {"name": name, "labels": {LABEL: tag.name, words.REVISION: tag.revision}}
    own = str(service["name"]).removesuffix(f"-{tag.revision}")
    account = {"kind": "ServiceAccount", "name": own, "namespace": service["namespace"]}
    rule = {
        "apiGroups": [webhooks.API_VERSION.partition("/")[0]],
        "resources": ["mutatingwebhookconfigurations"],
        "resourceNames": [configuration_name(tag.name, tag.system_namespace)],
        "verbs": ["patch"],
    }
    return [
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRole",
            "metadata": metadata,
            "rules": [rule],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name},
            "subjects": [account],
        },
    ]
