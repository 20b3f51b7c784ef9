"""The checkout (HTTP): takes a copy from the inventory, charges for it, and orders a new one."""

from collections.abc import AsyncIterator

import grpc
from aiohttp import web as http
from google.protobuf.json_format import MessageToDict

from examples.bookshop.bookshop_pb2 import ChargeRequest
from examples.bookshop.bookshop_pb2_grpc import PaymentsStub
from examples.bookshop.programs import lines, place, rpc, web

PRICE_IN_CENTS = 1295
PAYMENTS = http.AppKey("payments", PaymentsStub)
routes = http.RouteTableDef()


async def _payments(app: http.Application) -> AsyncIterator[None]:
    async with rpc.channel("payments") as channel:
        app[PAYMENTS] = PaymentsStub(channel)
        yield


async def _charge(payments: PaymentsStub) -> place.Trail:
    try:
        paid = await payments.Charge(ChargeRequest(cents=PRICE_IN_CENTS), timeout=10)
    except grpc.aio.AioRpcError as error:
        result = rpc.failure(error)
        return place.outcome("payments", rpc.PORT, "gRPC", result=result, answer=None)
    trail = MessageToDict(paid, always_print_fields_with_no_presence=True)
    return place.outcome("payments", rpc.PORT, "gRPC", result="ok", answer=trail)


@routes.post("/orders/{id:[0-9]+}")
async def order(request: http.Request) -> http.Response:
    """Sell one copy of a book."""
    book = request.match_info["id"]
    taken, left = await lines.ask(lines.STOCK_PORT, f"TAKE {book} 1")
    charged = await _charge(request.app[PAYMENTS])
    ordered, _ = await lines.ask(lines.RESTOCK_PORT, f"PUT {book} 1")
    return web.answer(request, taken, charged, ordered, left=left)


if __name__ == "__main__":
    web.serve(routes, _payments)
