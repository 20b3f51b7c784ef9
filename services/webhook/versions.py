"""Versions: whether the cluster has native sidecars, which its API server's version tells.

They are Kubernetes' own since 1.33, and on by default since 1.29. A kubelet may be three minor
versions older than its API server, so from 1.33 on every kubelet has them, and no node is asked.
"""

import logging
from typing import Any

from libs.kube.client import Client
from libs.kube.errors import KubeError

logger = logging.getLogger(__name__)

SINCE = (1, 33)


async def has_native_sidecars(client: Client) -> bool | None:
    """Tell whether it has them; None if the server did not say."""
    try:
        said = await client.get("/version")
    except KubeError as error:
        logger.warning("the api server's version is not known", extra={"reason": str(error)})
        return None
    return is_since(said)


def is_since(said: Any) -> bool | None:  # noqa: ANN401 - JSON
    """Tell whether a server that says so of itself is new enough; None if it is not clear."""
    try:
        major, minor = str(said["major"]), str(said["minor"]).rstrip("+")
        return (int(major), int(minor)) >= SINCE
    except (KeyError, TypeError, ValueError):
        return None
