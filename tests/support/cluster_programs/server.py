"""A web server like any other: it stops listening as soon as it is told to end."""

import asyncio

from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """Answer at once, or after as many seconds as the query says."""
    await asyncio.sleep(float(request.query.get("seconds", "0")))
    return web.Response(text="served")


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.route("*", "/", answer)])
    web.run_app(app, port=8080, print=None, access_log=None)
