"""The monitoring port: `/metrics`, `/ready`, `/version` and the service's own pages.

It serves plain HTTP to scrapers and probes; pages that show configuration bring their own
authentication. Bodies are capped: nothing here takes uploads. `/version` has what istioctl reads of
a server under the name that Istio gives it, `clientVersion`.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from libs.runtime import build, metrics
from libs.runtime.probes import WaitingFor

MAX_BODY_BYTES = 64 * 1024


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    routes: Iterable[web.AbstractRouteDef] = (),
    *,
    readiness: WaitingFor = tuple,
    component: str = "",
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port, which is a free one if `port` is 0.

    `component` is what `istio_build` calls this process; empty: it is not said.

    Raises:
        OSError: the address cannot be bound.

    """
    if component:
        metrics.BUILD.labels(component=component, tag=build.version()).set(1)
    runner = web.AppRunner(
        _application(routes, readiness),
        access_log=None,
        handler_cancellation=True,
        shutdown_timeout=1.0,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield _bound_port(runner)
    finally:
        await runner.cleanup()


def _application(routes: Iterable[web.AbstractRouteDef], readiness: WaitingFor) -> web.Application:
    async def ready(_: web.Request) -> web.Response:
        waiting = readiness()
        text = "".join(f"waiting for {condition}\n" for condition in waiting) or "ready\n"
        return web.Response(status=503 if waiting else 200, text=text)

    application = web.Application(client_max_size=MAX_BODY_BYTES)
    application.add_routes(
        [
            web.get("/metrics", _metrics),
            web.get("/ready", ready),
            web.get("/version", _version),
            *routes,
        ]
    )
    return application


async def _metrics(_: web.Request) -> web.Response:
    return web.Response(body=metrics.render(), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _version(_: web.Request) -> web.Response:
    return web.json_response({"version": build.version(), "clientVersion": build.info()})


def _bound_port(runner: web.AppRunner) -> int:
    address = runner.addresses[0]
    return int(address[1])
