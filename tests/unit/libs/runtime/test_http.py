import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from libs.runtime import http
from libs.runtime.metrics import Total
from libs.runtime.probes import Readiness


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def test_monitoring_port_serves_readiness_metrics_and_own_pages() -> None:
    readiness = Readiness("config", "certificate")
    routes = [web.get("/debug/hello", hello)]
    async with (
        http.serve("127.0.0.1", 0, routes, readiness=readiness, component="tester") as port,
        aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client,
    ):
        response = await client.get("/ready")
        assert response.status == 503
        assert await response.text() == "waiting for config\nwaiting for certificate\n"
        readiness.explain("config", "nobody answers")
        text = await (await client.get("/ready")).text()
        assert text == "waiting for config (nobody answers)\nwaiting for certificate\n"
        readiness.set("config")
        readiness.set("certificate")
        assert (await client.get("/ready")).status == 200
        readiness.set("config", met=False)
        assert (await client.get("/ready")).status == 503
        metrics = await (await client.get("/metrics")).text()
        assert "seine_event_loop_stall_worst_seconds" in metrics
        said = await (await client.get("/version")).json()
        assert f'istio_build{{component="tester",tag="{said["version"]}"}} 1.0' in metrics
        istioctls = {"version", "revision", "golang_version", "status", "tag"}
        assert said["clientVersion"].keys() == istioctls
        assert said["clientVersion"]["version"] == said["version"]
        assert await (await client.get("/debug/hello")).text() == "hello"
        assert (await client.get("/nothing")).status == 404


async def test_a_taken_port_is_an_error() -> None:
    async with http.serve("127.0.0.1", 0) as port:
        with pytest.raises(OSError, match="address already in use"):
            async with http.serve("127.0.0.1", port):
                pass


def test_istios_counters_keep_their_names() -> None:
    registry = CollectorRegistry()
    total = Total("pilot_xds_pushes", "Pushes.", ["type"], registry=registry)
    total.labels(type="cds").inc()
    text = generate_latest(registry).decode()
    assert 'pilot_xds_pushes{type="cds"} 1.0' in text
    assert "_total" not in text
