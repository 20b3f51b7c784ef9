"""The checkout (HTTP): takes a copy from the inventory, charges for it, and orders a new one."""

from collections.abc import AsyncIterator

from aiohttp import web as http

from examples.bookshop.bookshop_pb2 import ChargeRequest
from examples.bookshop.bookshop_pb2_grpc import PaymentsStub
from examples.bookshop.programs import lines, rpc, web

PRICE_IN_CENTS = 1295
PAYMENTS = http.AppKey("payments", PaymentsStub)
routes = http.RouteTableDef()


async def _payments(app: http.Application) -> AsyncIterator[None]:
    async with rpc.channel("payments") as channel:
        app[PAYMENTS] = PaymentsStub(channel)
        yield


@routes.post("/orders/{id:[0-9]+}")
async def order(request: http.Request) -> http.Response:
    """Sell one copy of a book."""
    book = request.match_info["id"]
    taken, left = await lines.ask(lines.STOCK_PORT, f"TAKE {book} 1")
    charge = request.app[PAYMENTS].Charge(ChargeRequest(cents=PRICE_IN_CENTS), timeout=10)
    charged = await rpc.call("payments", "/bookshop.v1.Payments/Charge", charge)
    ordered, _ = await lines.ask(lines.RESTOCK_PORT, f"PUT {book} 1")
    return web.answer(request, taken, charged, ordered, left=left)


if __name__ == "__main__":
    web.serve(routes, _payments)
