"""A web server that answers with what it was asked: the headers, and the name of its pod."""

import socket

from aiohttp import web


async def answer(request: web.Request) -> web.Response:
    """Say who answers, and every header of the request; a header that came twice is joined."""
    headers = {name.lower(): ",".join(request.headers.getall(name)) for name in request.headers}
    return web.json_response({"pod": socket.gethostname(), "headers": headers})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/", answer)])
    web.run_app(app, port=8080, print=None, access_log=None)
