"""Trust domain: read from the cluster, so that nobody has to write it down twice.

The mesh's ConfigMap may name one (`trustDomain` in its key `mesh`), or the ConfigMap that revisions
share; else it is the cluster's DNS domain. It is read once: another trust domain means other
identities for everybody, which is not done by the way.
"""

import logging
from collections.abc import Sequence
from typing import Any

from libs.api.composer import Composer
from libs.kube.client import Client
from libs.kube.errors import NotFoundError
from libs.model.ids import parse_spiffe_id

logger = logging.getLogger(__name__)

KEY = "mesh"


async def read(client: Client, namespace: str, names: Sequence[str], *, domain: str) -> str:
    """Return the trust domain of a cluster whose DNS domain is `domain`.

    Args:
        client: asks the API server.
        namespace: where the ConfigMaps are.
        names: of the ConfigMaps, the first that names one counts; empty ones are left out.
        domain: what holds if none does.

    Raises:
        KubeError: a ConfigMap cannot be read.

    """
    for name in filter(None, names):
        try:
            found = await client.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        except NotFoundError:
            continue
        if named := _named((found.get("data") or {}).get(KEY) or ""):
            return named
    return domain


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
