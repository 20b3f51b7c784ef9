"""Receipts as a page that goes on: a line of JSON for each that moves, until its reader leaves.

For readers that come by a port of the pod and not over mutual TLS, such as `seinectl` in a cluster.
What is held comes first. A line without a receipt every BEAT_SECONDS says that there was none. A
slow reader holds nobody up: of what moves meanwhile it gets the latest state only. Readers beyond
MAX_READERS are sent away with 503, and counted.
"""

import json
from contextlib import aclosing

from aiohttp import web
from google.protobuf.json_format import MessageToDict

from libs.model import changes
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import Group
from services.config_push import metrics
from services.config_push.receipts import ReceiptBook

BEAT_SECONDS = 15.0
MAX_READERS = 16


def described(receipt: Receipt) -> dict[str, object]:
    """Return a receipt as pages show it."""
    found = MessageToDict(receipt, preserving_proto_field_name=True)
    return {**found, "change": changes.name(receipt.change)}


class ReceiptsPage:
    """Answers requests out of one book; who may ask is decided before."""

    def __init__(self, book: ReceiptBook, clock: Clock | None = None) -> None:
        self._book = book
        self._clock = clock or SystemClock()
        self._readers = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer until the reader leaves."""
        if self._readers >= MAX_READERS:
            metrics.READERS_REFUSED.inc()
            raise web.HTTPServiceUnavailable(text=f"{MAX_READERS} readers follow already\n")
        self._readers += 1
        try:
            response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
            await response.prepare(request)
            async with Group() as group:
                group.create_task(self._tell(response, request.query.get("ref", "")))
                group.create_task(self._beat(response))
        except* ConnectionError:
            pass  # the reader has left
        finally:
            self._readers -= 1
        return response

    async def _tell(self, response: web.StreamResponse, ref: str) -> None:
        async with aclosing(self._book.follow(ref)) as receipts:
            async for receipt in receipts:
                await response.write(json.dumps(described(receipt)).encode() + b"\n")

    async def _beat(self, response: web.StreamResponse) -> None:
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            await response.write(b"\n")
