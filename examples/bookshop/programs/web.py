"""HTTP for the programs: a server with its clients, and calls that return what became of them."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterable

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from examples.bookshop.programs import place

PORT = 9080
CLIENT = web.AppKey("client", ClientSession)
Lifetime = Callable[[web.Application], AsyncIterator[None]]


def session() -> ClientSession:
    """Return a client that uses `http_proxy` if the environment names one."""
    return ClientSession(trust_env=True, timeout=ClientTimeout(total=10))


async def call(client: ClientSession, method: str, service: str, *, path: str) -> place.Trail:
    """Call a service and return what became of it, with the answer under `body`."""
    body: dict[str, object] = {}
    try:
        async with client.request(method, place.url(service, PORT) + path) as response:
            is_json = response.content_type == "application/json"
            body = await response.json() if is_json else {"text": await response.text()}
            result = "ok" if response.status < 400 else _refusal(response.status, body)
    except (ClientError, OSError, TimeoutError) as error:
        result = f"{type(error).__name__}: {error}"
    trail = body.pop("trail", None)
    peer = (service, PORT, "HTTP")
    call = place.outcome(peer, request=f"{method} {path}", result=result, answer=trail)
    return {**call, "body": body}


def _refusal(status: int, body: dict[str, object]) -> str:
    return f"{status} {str(body.get('text', ''))[:80]}".strip()


def told(*calls: place.Trail) -> list[place.Trail]:
    """Return calls without the answers that they brought."""
    return [{key: value for key, value in call.items() if key != "body"} for call in calls]


def answer(request: web.Request, *calls: place.Trail, **body: object) -> web.Response:
    """Answer with `body` and the trail; 502 if one of the calls did not go well."""
    failed = any(call["outcome"] != "ok" for call in calls)
    return _response(request, calls, body, status=502 if failed else 200)


def attempt(request: web.Request, call: place.Trail) -> web.Response:
    """Answer 200 with the trail of an attempt, however it ended."""
    return _response(request, [call], {}, status=200)


def _response(
    request: web.Request, calls: Iterable[place.Trail], body: dict[str, object], *, status: int
) -> web.Response:
    trail = place.trail(request.headers, told(*calls))
    return web.json_response({**body, "trail": trail}, status=status)


async def _client(app: web.Application) -> AsyncIterator[None]:
    async with session() as app[CLIENT]:
        yield


def serve(routes: Iterable[web.RouteDef], *lifetimes: Lifetime) -> None:
    """Serve `routes` until the process is told to end."""
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.extend([_client, *lifetimes])
    web.run_app(app, host=place.LISTEN, port=PORT, print=None, access_log=None)


async def until_told() -> None:
    """Wait for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()
