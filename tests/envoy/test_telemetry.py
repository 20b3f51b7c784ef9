"""What a real Envoy tells when policies change its metrics, logs and traces."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
import pytest_asyncio
from msgspec import structs

from libs.model.providers import FileLog, OpenTelemetry, OpenTelemetryLog, Zipkin
from libs.model.service import Protocol
from libs.model.settings import MeshSettings
from libs.model.telemetry import LogRule, MetricsRule, TelemetryPolicy, TracingRule
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority
from tests.support.envoy import free_ports
from tests.support.workload import Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

ADDRESS = "127.66.201.1"
HTTP_PORT, GRPC_PORT = free_ports(2)
SERVICE = rows.service("collector", rows.port(HTTP_PORT), rows.port(GRPC_PORT, Protocol.GRPC))
PROVIDERS = (
    Zipkin(name="zipkin", host=SERVICE.host, port=HTTP_PORT),
    OpenTelemetry(name="otel", host=SERVICE.host, port=GRPC_PORT),
    OpenTelemetry(name="otel-http", host=SERVICE.host, port=HTTP_PORT, path="/v1/traces"),
    OpenTelemetry(name="hidden", host="nowhere.example", port=80),
    OpenTelemetryLog(name="logs", host=SERVICE.host, port=GRPC_PORT, text="path %REQ(:PATH)%"),
)
WORKLOAD = Workload(
    ports={"http": Protocol.HTTP, "tcp": Protocol.TCP},
    others=(SERVICE, rows.endpoints(SERVICE, ADDRESS, mtls=False)),
    settings=MeshSettings(providers=PROVIDERS),
)


class Collector:
    """Takes whatever is sent, over HTTP and over gRPC."""

    def __init__(self) -> None:
        self._got: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()

    async def until(self, kind: str, text: bytes) -> bytes:
        """Return the first message of a kind that holds `text`."""
        async with asyncio.timeout(30):
            while True:
                got, body = await self._got.get()
                if got == kind and text in body:
                    return body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            lines = head.decode().lower().split("\r\n")
            lengths = [int(it.split(":")[1]) for it in lines if it.startswith("content-length")]
            if lengths:
                body = await reader.readexactly(lengths[0])
            else:  # in chunks
                body = await reader.readuntil(b"\r\n0\r\n\r\n")
            self._got.put_nowait((lines[0].split()[1], body))
            writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
            await writer.drain()
        writer.close()

    async def export(self, body: bytes, _: object) -> bytes:
        self._got.put_nowait(("grpc", body))
        return b""


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    collector = Collector()
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(collector.export)
    for service in ("trace.v1.TraceService", "logs.v1.LogsService"):
        name = f"opentelemetry.proto.collector.{service}"
        methods = {"Export": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    server.add_insecure_port(f"{ADDRESS}:{GRPC_PORT}")
    await server.start()
    plain = await asyncio.start_server(collector.serve, ADDRESS, HTTP_PORT)
    try:
        yield collector
    finally:
        plain.close()
        await server.stop(None)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    del collector
    async with serving(TestAuthority(), WORKLOAD, tmp_path_factory.mktemp("envoy")) as running:
        yield running


async def under(server: Server, **fields: object) -> None:
    policy: TelemetryPolicy = rows.telemetry_policy("t", **fields)
    others = (*WORKLOAD.others, policy)
    await server.apply(structs.replace(WORKLOAD, others=others))
    assert await server.envoy.complaints() == []


async def get(server: Server, path: str, **headers: str) -> int:
    return (await traffic.http(server.port("http"), path, headers=headers)).status


async def counted(server: Server, metric: str, text: str) -> bool:
    lines = await server.envoy.prometheus()
    return any(line.startswith(f"envoy_istio_{metric}{{") and text in line for line in lines)


async def test_tags_are_changed_and_taken_away(server: Server) -> None:
    tags = (("request_host", "request.host"), ("source_cluster", None), ("mark", "'new'"))
    await under(server, metrics=(MetricsRule(metric="requests_total", tags=tags),))
    assert await get(server, "/", host="tagged.example") == 200
    lines = await server.envoy.prometheus()
    (line,) = [it for it in lines if 'request_host="tagged.example"' in it]
    assert 'mark="new"' in line
    assert "source_cluster" not in line
    assert not await counted(server, "request_bytes_count", "tagged.example")


async def test_metrics_are_switched_off_one_by_one(server: Server) -> None:
    off = MetricsRule(metric="requests_total", disabled=True)
    mark = MetricsRule(tags=(("probe", "'off'"),))
    await under(server, metrics=(mark, off))
    assert await get(server, "/") == 200
    assert (await traffic.exchange(server.port("tcp"), b"\x00hello")).status == 1
    assert not await counted(server, "requests_total", 'probe="off"')
    async with asyncio.timeout(10):  # counted once Envoy has noticed
        while not await counted(server, "tcp_connections_opened_total", 'probe="off"'):
            pass
    client_only = MetricsRule(metric="requests_total", disabled=True, side="client")
    await under(server, metrics=(MetricsRule(tags=(("probe", "'on'"),)), client_only))
    assert await get(server, "/") == 200
    assert await counted(server, "requests_total", 'probe="on"')


async def test_a_filter_chooses_what_is_logged(server: Server) -> None:
    path = str(server.envoy.access_log)
    file = FileLog(name="file", path=path, labels=(("path", "%REQ(:PATH)%"), ("mark", "json")))
    settings = structs.replace(WORKLOAD.settings, providers=(*PROVIDERS, file))
    rule = LogRule(providers=("file",), filter="request.path.startsWith('/logged')")
    others = (*WORKLOAD.others, rows.telemetry_policy("t", logs=(rule,)))
    await server.apply(structs.replace(WORKLOAD, settings=settings, others=others))
    assert await server.envoy.complaints() == []
    assert await get(server, "/hidden-from-the-log") == 200
    assert await get(server, "/logged-here") == 200
    line = json.loads(await server.envoy.logged("/logged-here"))
    assert line == {"path": "/logged-here", "mark": "json"}
    assert "/hidden-from-the-log" not in server.envoy.access_log.read_text()


async def test_logs_are_switched_off_for_servers_alone(server: Server) -> None:
    await under(server, logs=(LogRule(disabled=True, side="server"),))
    assert await get(server, "/never-logged") == 200
    await under(server, logs=(LogRule(disabled=True, side="client"),))
    assert await get(server, "/still-logged") == 200
    assert await server.envoy.logged("/still-logged")
    assert "/never-logged" not in server.envoy.access_log.read_text()


async def test_logs_go_to_a_collector(server: Server, collector: Collector) -> None:
    await under(server, logs=(LogRule(providers=("logs",)),))
    assert await get(server, "/sent-away") == 200
    assert b"path /sent-away" in await collector.until("grpc", b"/sent-away")


TAGS = (
    ("kind", "literal", "mine", ""),
    ("who", "header", "x-who", "nobody"),
    ("none", "header", "x-none", "default"),
    ("line", "format", "%REQ(:METHOD)%", ""),
)


@pytest.mark.parametrize(
    ("provider", "kind"),
    [("zipkin", "/api/v2/spans"), ("otel", "grpc"), ("otel-http", "/v1/traces")],
)
async def test_spans_go_to_a_collector(
    server: Server, collector: Collector, provider: str, kind: str
) -> None:
    rule = TracingRule(providers=(provider,), sampling=100.0, tags=TAGS)
    await under(server, tracing=(rule,))
    assert await get(server, f"/traced-{provider}", **{"x-who": "ann"}) == 200
    span = await collector.until(kind, f"/traced-{provider}".encode())
    for text in (b"mine", b"ann", b"default", b"GET", b"server.shop"):
        assert text in span or (provider == "zipkin" and text == b"server.shop"), text


async def test_nothing_is_sampled_where_tracing_is_off(
    server: Server, collector: Collector
) -> None:
    for rule in (
        TracingRule(providers=("zipkin",), sampling=0.0),
        TracingRule(providers=("zipkin",), sampling=100.0, disabled=True),
        TracingRule(providers=("zipkin",), sampling=100.0, side="client"),
        TracingRule(providers=("hidden",), sampling=100.0),
    ):
        await under(server, tracing=(rule,))
        assert await get(server, "/unseen") == 200
    await under(server, tracing=(TracingRule(providers=("zipkin",), sampling=100.0),))
    assert await get(server, "/seen") == 200
    async with asyncio.timeout(30):
        while True:
            path, body = await collector._got.get()
            assert b"/unseen" not in body
            if path == "/api/v2/spans" and b"/seen" in body:
                break
