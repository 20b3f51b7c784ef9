"""The catalog (gRPC): titles and authors, and the stock as the inventory (TCP) knows it."""

import asyncio

import grpc

from examples.bookshop.bookshop_pb2 import Book, BookRequest, Trail
from examples.bookshop.bookshop_pb2_grpc import CatalogServicer, add_CatalogServicer_to_server
from examples.bookshop.programs import lines, place, rpc

BOOKS = {
    1: ("The Odyssey", "Homer"),
    2: ("Moby-Dick", "Herman Melville"),
    3: ("Twenty Thousand Leagues Under the Sea", "Jules Verne"),
    4: ("The Voyage of the Beagle", "Charles Darwin"),
    5: ("The Compleat Angler", "Izaak Walton"),
}


class Catalog(CatalogServicer):
    """Answers about the five books."""

    async def Describe(self, request: BookRequest, context: grpc.aio.ServicerContext) -> Book:  # noqa: N802
        """Describe a book."""
        if request.id not in BOOKS:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no book {request.id}")
        call, stock = await lines.ask(lines.STOCK_PORT, f"STOCK {request.id}")
        title, author = BOOKS[request.id]
        trail = place.trail(rpc.headers(context), [call])
        return Book(id=request.id, title=title, author=author, stock=stock, trail=trail)

    async def Restock(self, request: BookRequest, context: grpc.aio.ServicerContext) -> Trail:  # noqa: N802
        """Try to add a copy to the stock."""
        call, _ = await lines.ask(lines.RESTOCK_PORT, f"PUT {request.id} 1")
        return Trail(**place.trail(rpc.headers(context), [call]))


if __name__ == "__main__":
    asyncio.run(rpc.serve(lambda server: add_CatalogServicer_to_server(Catalog(), server)))
