"""Sending: one write of a status, and what becomes of it. What it says is not decided here."""

import logging
from collections.abc import Mapping

from libs.kube.client import Client, Params
from libs.kube.errors import ConflictError, ForbiddenError, InvalidError, KubeError, NotFoundError
from libs.model.ids import Ref
from services.discovery import metrics

logger = logging.getLogger(__name__)

MERGE_PATCH = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


async def send(
    client: Client,
    resource: Ref,
    path: str,
    *,
    body: Mapping[str, object],
    content_type: str = MERGE_PATCH,
    params: Params | None = None,
) -> bool:
    """Write the status at `path`; False: try again."""
    try:
        await client.request("PATCH", path, params=params, body=body, content_type=content_type)
    except (ConflictError, NotFoundError):
        metrics.STATUS_WRITES.labels("outdated").inc()
        return True  # the watch tells what there is now
    except (ForbiddenError, InvalidError) as error:
        metrics.STATUS_WRITES.labels("refused").inc()
        logger.warning("status refused", extra={"resource": resource, "error": str(error)})
        return True  # trying again would not help
    except KubeError as error:
        metrics.STATUS_WRITES.labels("failed").inc()
        logger.warning("status not written", extra={"resource": resource, "error": str(error)})
        return False
    metrics.STATUS_WRITES.labels("written").inc()
    return True
