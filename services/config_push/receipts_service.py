"""The Receipts service: receipts for discovery, the console and the command line, over mTLS."""

from collections.abc import AsyncIterator

import grpc.aio

from libs.model.ids import Ref
from libs.protos.receipts.v1 import receipts_pb2_grpc
from libs.protos.receipts.v1.receipts_pb2 import (
    GetStandingRequest,
    ListRequest,
    Receipt,
    ReceiptList,
    Standing,
    WatchRequest,
)
from libs.rpc.peer import Context
from services.config_push.receipts import ReceiptBook
from services.config_push.standing import Stand

METHODS = (
    "/seine.receipts.v1.Receipts/Watch",
    "/seine.receipts.v1.Receipts/List",
    "/seine.receipts.v1.Receipts/GetStanding",
)


class ReceiptsService(receipts_pb2_grpc.ReceiptsServicer):
    """Answers from one book; `standing` says how the proxies stand."""

    def __init__(self, book: ReceiptBook, standing: Stand) -> None:
        self._book = book
        self._standing = standing

    def register(self, server: grpc.aio.Server) -> None:
        """Add the service to a server."""
        receipts_pb2_grpc.add_ReceiptsServicer_to_server(self, server)

    async def Watch(  # noqa: N802  # the protocol's name
        self, request: WatchRequest, context: Context
    ) -> AsyncIterator[Receipt]:
        """Stream receipts as they move."""
        async for receipt in self._book.follow(request.ref, request.after):
            yield receipt

    async def List(self, request: ListRequest, context: Context) -> ReceiptList:  # noqa: N802
        """Return the receipts that are held."""
        return ReceiptList(receipts=self._book.receipts(request.ref))

    async def GetStanding(  # noqa: N802  # the protocol's name
        self, request: GetStandingRequest, context: Context
    ) -> Standing:
        """Return how the proxies stand."""
        return self._standing([Ref(it) for it in request.refs])
