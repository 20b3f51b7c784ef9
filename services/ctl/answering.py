"""Answering: whether anybody is where a webhook configuration leads.

An API server that is to ask a webhook which nobody serves refuses what it would have asked about,
unless the configuration says otherwise. Others look for this under dangling webhooks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from libs.kube.client import Client
from libs.kube.errors import NotFoundError

Json = Mapping[str, Any]

_ELSEWHERE = "ExternalName"
_SLICES = "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices"


async def nobody(client: Client, target: Json) -> str:
    """Return why nobody answers at a webhook's `clientConfig`, or an empty text.

    What is outside of the cluster, a URL or an external name, cannot be judged, and counts as
    answered.

    Raises:
        ForbiddenError: the caller may not look.

    """
    service = target.get("service")
    if not service:
        return ""
    namespace, name = str(service.get("namespace", "")), str(service.get("name", ""))
    try:
        found = await client.get(f"/api/v1/namespaces/{namespace}/services/{name}")
    except NotFoundError:
        return f"there is no Service {name} in namespace {namespace}"
    if (found.get("spec") or {}).get("type") == _ELSEWHERE:
        return ""
    wanted = {"labelSelector": f"kubernetes.io/service-name={name}"}
    slices = await client.get(_SLICES.format(namespace), wanted)
    ready = any(_is_ready(it) for one in slices["items"] for it in one.get("endpoints") or ())
    return "" if ready else f"no pod of Service {name} in namespace {namespace} is ready"


def _is_ready(endpoint: Json) -> bool:
    """Tell whether an endpoint takes calls: what says nothing does."""
    return (endpoint.get("conditions") or {}).get("ready") is not False


def target_of(configuration: Json) -> Json:
    """Return where a webhook configuration leads: all webhooks of one lead to the same place."""
    hooks: Sequence[Json] = configuration.get("webhooks") or ()
    return next((it.get("clientConfig") or {} for it in hooks), {})
