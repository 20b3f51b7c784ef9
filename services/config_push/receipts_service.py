"""The Receipts service: receipts for discovery, the console and the command line, over mTLS."""

from collections.abc import AsyncIterator

import grpc.aio

from libs.protos.receipts.v1 import receipts_pb2_grpc
from libs.protos.receipts.v1.receipts_pb2 import (
    ListRequest,
    Receipt,
    ReceiptList,
    WatchRequest,
)
from libs.rpc.peer import Context
from services.config_push.receipts import ReceiptBook

METHODS = ("/seine.receipts.v1.Receipts/Watch", "/seine.receipts.v1.Receipts/List")


class ReceiptsService(receipts_pb2_grpc.ReceiptsServicer):
    """Answers from one book."""

    def __init__(self, book: ReceiptBook) -> None:
        self._book = book

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
