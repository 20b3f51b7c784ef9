"""The reviews (HTTP), in three versions: v1 only texts, v2 and v3 with stars from the ratings."""

from aiohttp import web as http

from examples.bookshop.programs import place, web

TEXTS = ("I could not put it down.", "Too many fish for my taste.")
STARS = {"v2": "black", "v3": "red"}
routes = http.RouteTableDef()


@routes.get("/reviews/{id:[0-9]+}")
async def reviews(request: http.Request) -> http.Response:
    """Return what readers say of a book."""
    colour = STARS.get(place.VERSION)
    if not colour:
        return web.answer(request, reviews=[{"text": text} for text in TEXTS])
    path = f"/ratings/{request.match_info['id']}"
    ratings = await web.call(request.app[web.CLIENT], "GET", "ratings", path=path)
    stars = ratings["body"].get("stars", [0] * len(TEXTS))
    found = [
        {"text": text, "stars": count, "colour": colour}
        for text, count in zip(TEXTS, stars, strict=True)
    ]
    return web.answer(request, ratings, reviews=found)


@routes.delete("/reviews/{id:[0-9]+}")
async def delete(request: http.Request) -> http.Response:
    """Pretend to delete; whoever gets here was let through."""
    return web.answer(request, deleted=True)


if __name__ == "__main__":
    web.serve(routes)
