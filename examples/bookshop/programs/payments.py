"""The payments (gRPC): every card is good."""

import asyncio

import grpc

from examples.bookshop.bookshop_pb2 import ChargeRequest, Trail
from examples.bookshop.bookshop_pb2_grpc import PaymentsServicer, add_PaymentsServicer_to_server
from examples.bookshop.programs import place, rpc


class Payments(PaymentsServicer):
    """Charges cards."""

    async def Charge(self, request: ChargeRequest, context: grpc.aio.ServicerContext) -> Trail:  # noqa: N802
        """Charge a card."""
        if not request.cents:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "nothing to charge")
        return Trail(**place.trail(rpc.headers(context)))


if __name__ == "__main__":
    asyncio.run(rpc.serve(lambda server: add_PaymentsServicer_to_server(Payments(), server)))
