"""The storefront: the page of a book, put together from catalog (gRPC) and reviews (HTTP).

Orders go to the checkout. Three more paths try what the AuthorizationPolicies forbid.
"""

from collections.abc import AsyncIterator

from aiohttp import web as http

from examples.bookshop.bookshop_pb2 import BookRequest
from examples.bookshop.bookshop_pb2_grpc import CatalogStub
from examples.bookshop.programs import place, rpc, web

CATALOG = http.AppKey("catalog", CatalogStub)
routes = http.RouteTableDef()


async def _catalog(app: http.Application) -> AsyncIterator[None]:
    async with rpc.channel("catalog") as channel:
        app[CATALOG] = CatalogStub(channel)
        yield


async def _ask(request: http.Request, method: str) -> place.Trail:
    """Call a method of the catalog about the book of this request."""
    ask = getattr(request.app[CATALOG], method)
    answer = ask(BookRequest(id=int(request.match_info["id"])), timeout=10)
    return await rpc.call("catalog", f"/bookshop.v1.Catalog/{method}", answer)


async def _http(request: http.Request, method: str, service: str, *, path: str) -> place.Trail:
    return await web.call(request.app[web.CLIENT], method, service, path=path)


@routes.get("/books/{id:[0-9]+}")
async def book(request: http.Request) -> http.Response:
    """Show a book with its stock and what readers say."""
    found = await _ask(request, "Describe")
    path = f"/reviews/{request.match_info['id']}"
    reviews = await _http(request, "GET", "reviews", path=path)
    body = {"book": found.get("body"), "reviews": reviews["body"].get("reviews")}
    return web.answer(request, found, reviews, **body)


@routes.post("/orders/{id:[0-9]+}")
async def order(request: http.Request) -> http.Response:
    """Buy one copy."""
    path = f"/orders/{request.match_info['id']}"
    return web.answer(request, await _http(request, "POST", "checkout", path=path))


@routes.delete("/books/{id:[0-9]+}/reviews")
async def delete_reviews(request: http.Request) -> http.Response:
    """Try to delete reviews, which a DENY policy forbids."""
    path = f"/reviews/{request.match_info['id']}"
    return web.attempt(request, await _http(request, "DELETE", "reviews", path=path))


@routes.get("/books/{id:[0-9]+}/ratings")
async def ratings(request: http.Request) -> http.Response:
    """Try to read ratings, which an ALLOW policy keeps for the reviews."""
    path = f"/ratings/{request.match_info['id']}"
    return web.attempt(request, await _http(request, "GET", "ratings", path=path))


@routes.post("/books/{id:[0-9]+}/restock")
async def restock(request: http.Request) -> http.Response:
    """Ask the catalog to restock, which a DENY policy on a TCP port forbids."""
    return web.attempt(request, await _ask(request, "Restock"))


@routes.get("/")
async def front(request: http.Request) -> http.Response:
    """Greet, without calling anyone."""
    return web.answer(request, shop="The Bookshop", books=[1, 2, 3, 4, 5])


if __name__ == "__main__":
    web.serve(routes, _catalog)
