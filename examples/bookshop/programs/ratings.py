"""The ratings (HTTP): stars for each review of a book."""

from aiohttp import web as http

from examples.bookshop.programs import web

routes = http.RouteTableDef()


@routes.get("/ratings/{id:[0-9]+}")
async def ratings(request: http.Request) -> http.Response:
    """Return the stars of a book's two reviews."""
    return web.answer(request, stars=[5, 4])


if __name__ == "__main__":
    web.serve(routes)
