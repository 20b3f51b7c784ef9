"""Sending: one write of a status, and what becomes of it. What it says is not decided here."""

import logging
from collections.abc import Mapping
from enum import StrEnum

from libs.kube.client import Client, Params
from libs.kube.errors import ConflictError, ForbiddenError, InvalidError, KubeError, NotFoundError
from libs.model.ids import Ref
from services.discovery import metrics

logger = logging.getLogger(__name__)

MANAGER = "seine-discovery"
"""Who we are to the API server, which remembers for each field who has written it."""
MERGE_PATCH = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Sent(StrEnum):
    """What became of a write."""

    WRITTEN = "written"
    OUTDATED = "outdated"  # the watch tells what there is now
    REFUSED = "refused"  # trying again would not help
    FAILED = "failed"  # try again


async def send(
    client: Client,
    resource: Ref,
    path: str,
    *,
    body: Mapping[str, object],
    content_type: str = MERGE_PATCH,
    params: Params | None = None,
) -> Sent:
    """Write the status at `path`."""
    sent = await _sent(client, resource, path, body=body, content_type=content_type, params=params)
    metrics.STATUS_WRITES.labels(sent).inc()
    return sent


async def _sent(
    client: Client,
    resource: Ref,
    path: str,
    *,
    body: Mapping[str, object],
    content_type: str,
    params: Params | None,
) -> Sent:
    try:
        await client.request("PATCH", path, params=params, body=body, content_type=content_type)
    except (ConflictError, NotFoundError):
        return Sent.OUTDATED
    except (ForbiddenError, InvalidError) as error:
        logger.warning("status refused", extra={"resource": resource, "error": str(error)})
        return Sent.REFUSED
    except KubeError as error:
        logger.warning("status not written", extra={"resource": resource, "error": str(error)})
        return Sent.FAILED
    return Sent.WRITTEN
