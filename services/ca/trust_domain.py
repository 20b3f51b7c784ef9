"""Trust domain: read from the cluster, so that nobody has to write it down twice.

The mesh's ConfigMap `istio` may name one (`trustDomain` in its key `mesh`); else it is the
cluster's DNS domain. It is read once: another trust domain means other identities for everybody,
which is not done by the way.
"""

import logging
from typing import Any

from libs.api.composer import Composer
from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.model.ids import parse_spiffe_id

logger = logging.getLogger(__name__)

CONFIG_MAP, KEY = "istio", "mesh"


async def read(client: Client, namespace: str, *, domain: str) -> str:
    """Return the trust domain of a cluster whose DNS domain is `domain`.

    Raises:
        KubeError: the ConfigMap cannot be read.

    """
    try:
        found = await client.get(f"/api/v1/namespaces/{namespace}/configmaps/{CONFIG_MAP}")
    except NotFoundError:
        return domain
    named = _named((found.get("data") or {}).get(KEY) or "")
    return named or domain


def _named(mesh: str) -> str:
    """Return the trust domain that a mesh's configuration names; empty if none that can be one."""
    composer = Composer()
    raw: Any = composer.compose(mesh.encode())
    named = raw.get("trustDomain") if isinstance(raw, dict) else None
    if not named:
        return ""
    try:
        return parse_spiffe_id(f"spiffe://{named}/ns/n/sa/s").trust_domain
    except ValueError as error:
        logger.warning("trust domain of the mesh not used", extra={"reason": str(error)})
        return ""
