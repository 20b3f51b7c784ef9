"""A proxy before a real API server that does to answers what networks and servers do.

Faults wait in a queue; each is done to the next request that it fits, or to streams that are open.
"""

import asyncio
import json
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from libs.kube import access
from tests.support.kube_apiserver import ApiServer

Fits = Callable[[web.Request], bool]
Change = Callable[[Any], Any]
"""Takes the JSON of an answer, and returns what is given instead."""


def is_watch(request: web.Request) -> bool:
    return "watch" in request.query


def is_list(request: web.Request) -> bool:
    return request.method == "GET" and not is_watch(request)


def is_following_page(request: web.Request) -> bool:
    return is_list(request) and bool(request.query.get("continue"))


class Proxy:
    """Passes everything on, save what is asked to go wrong. Make it with `running`."""

    def __init__(self, server: ApiServer, session: aiohttp.ClientSession) -> None:
        self._server = server
        self._session = session
        self._answers: deque[tuple[Fits, web.Response | None]] = deque()
        self._changes: deque[tuple[Fits, Change]] = deque()
        self._streams: set[_Stream] = set()
        self._open = asyncio.Event()
        self.requests: Counter[str] = Counter()
        self.url = ""

    def answer(self, fits: Fits, status: int, *, reason: str = "", retry_after: int = 0) -> None:
        """Answer the next request that fits with an error."""
        body = {"kind": "Status", "code": status, "reason": reason, "message": "by the proxy"}
        headers = {"Retry-After": str(retry_after)} if retry_after else {}
        self._answers.append((fits, web.json_response(body, status=status, headers=headers)))

    def hang_up(self, fits: Fits) -> None:
        """End the connection of the next request that fits, without an answer."""
        self._answers.append((fits, None))

    def change(self, fits: Fits, change: Change) -> None:
        """Pass on the next request that fits, and change the JSON of its answer."""
        self._changes.append((fits, change))

    def relent(self) -> None:
        """Forget errors that nobody has been given yet."""
        self._answers.clear()
        self._changes.clear()

    def cut(self, *, inside: bool = False) -> None:
        """End all streams; `inside` an event: what was sent of it is useless."""
        for stream in self._streams:
            stream.cut(inside=inside)

    def silence(self) -> None:
        """Let all open streams be open, and swallow what comes, their ends included."""
        for stream in self._streams:
            stream.silent = True

    def inject(self, line: bytes) -> None:
        """Send a line of our own on all streams."""
        for stream in self._streams:
            stream.inject(line)

    def repeat(self) -> None:
        """Send the last event of each stream again."""
        for stream in self._streams:
            if stream.last:
                stream.inject(stream.last)

    async def opened(self, seconds: float = 60) -> None:
        """Return once there is a stream."""
        async with asyncio.timeout(seconds):
            await self._open.wait()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        kind = "watch" if is_watch(request) else "list" if is_list(request) else request.method
        self.requests[kind] += 1
        for waiting in list(self._answers):
            if waiting[0](request):
                self._answers.remove(waiting)
                if waiting[1] is None and request.transport:
                    request.transport.abort()
                return waiting[1] or web.Response(status=502)
        url = f"https://127.0.0.1:{self._server.port}{request.rel_url}"
        headers = {
            "Authorization": f"Bearer {self._server.token}",
            "Accept": request.headers["Accept"],
            "Content-Type": request.headers.get("Content-Type", "application/json"),
        }
        body = await request.read()
        try:
            async with self._session.request(
                request.method, url, headers=headers, data=body or None
            ) as answer:
                return await self._pass_on(request, answer, is_stream=kind == "watch")
        except aiohttp.ClientConnectionError:
            return web.Response(status=502, text="bad gateway")

    def _changed(self, request: web.Request, body: bytes) -> bytes:
        for waiting in list(self._changes):
            if waiting[0](request):
                self._changes.remove(waiting)
                return json.dumps(waiting[1](json.loads(body))).encode()
        return body

    async def _pass_on(
        self, request: web.Request, answer: aiohttp.ClientResponse, *, is_stream: bool
    ) -> web.StreamResponse:
        if not is_stream or answer.status != 200:
            body = self._changed(request, await answer.read())
            return web.Response(body=body, status=answer.status, content_type=answer.content_type)
        out = web.StreamResponse(headers={"Content-Type": "application/json"})
        await out.prepare(request)
        stream = _Stream(out, answer)
        self._streams.add(stream)
        self._open.set()
        try:
            await stream.run()
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self._open.clear()
        return out


class _Stream:
    def __init__(self, out: web.StreamResponse, answer: aiohttp.ClientResponse) -> None:
        self._out = out
        self._answer = answer
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.silent = False
        self.last = b""

    def inject(self, line: bytes) -> None:
        self._lines.put_nowait(line.rstrip(b"\n") + b"\n")

    def cut(self, *, inside: bool) -> None:
        if inside:
            self._lines.put_nowait(b'{"type":"MODIFIED","object":{"metadata":{"na')
        self._lines.put_nowait(None)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            while (line := await self._lines.get()) is not None or self.silent:
                if line is not None and not self.silent:
                    self.last = line
                    await self._out.write(line)
            reading.cancel()

    async def _read(self) -> None:
        try:
            async for line in self._answer.content:
                self._lines.put_nowait(line)
        except aiohttp.ClientError:
            pass
        self._lines.put_nowait(None)


@asynccontextmanager
async def running(server: ApiServer) -> AsyncIterator[Proxy]:
    """Run a proxy before `server`."""
    context = ssl.create_default_context(cafile=str(server.authority))
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, read_bufsize=2**22) as session:
        proxy = Proxy(server, session)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            proxy.url = f"http://{host}:{port}"
            yield proxy
        finally:
            await runner.cleanup()


def through(proxy: Proxy, folder: Path) -> access.Access:
    """Return the way to the API server that leads through `proxy`."""
    return access.load(str(write_config(proxy, folder)))


def write_config(proxy: Proxy, folder: Path) -> Path:
    """Write a kubeconfig of that way."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": proxy.url}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path = folder / "through-proxy"
    path.write_text(yaml.safe_dump(content))
    return path
