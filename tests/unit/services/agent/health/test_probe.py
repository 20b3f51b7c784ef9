"""What makes a workload well, by each way of asking."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from msgspec import structs

from services.agent import proxy_config
from services.agent.health.probe import ReadinessProbe, failure
from services.agent.probes import Prober
from tests.support.ports import free_ports


def probe(text: str) -> ReadinessProbe:
    found = proxy_config.parse(f'{{"readinessProbe": {text}}}').readiness_probe
    assert found is not None
    return found


async def made(text: str) -> str:
    return await failure(probe(text), Prober({}, "127.0.0.1"))


async def patient(text: str) -> str:
    """What comes of a probe that a busy machine does not make late."""
    wanted = structs.replace(probe(text), timeout_seconds=60)
    return await failure(wanted, Prober({}, "127.0.0.1"))


@asynccontextmanager
async def serving(answer: bytes, heads: list[bytes] | None = None) -> AsyncIterator[int]:
    """Answer every request so, on a free port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head)
            writer.write(answer)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def answer(status: int, body: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return (head + body).encode()


# proves: WorkloadGroup spec.probe.httpGet.port, spec.probe.httpGet.path, spec.probe.httpGet.host
# proves: WorkloadGroup spec.probe.httpGet.scheme
# proves: WorkloadGroup spec.probe.httpGet.httpHeaders[].name
# proves: WorkloadGroup spec.probe.httpGet.httpHeaders[].value
async def test_http_is_asked_as_it_is_written() -> None:
    heads: list[bytes] = []
    async with serving(answer(204), heads) as port:
        headers = '[{"name": "x-one", "value": "two"}]'
        text = f'{{"httpGet": {{"port": {port}, "path": "/up", "httpHeaders": {headers}}}}}'
        assert await patient(text) == ""
        named = f'{{"httpGet": {{"port": {port}, "host": "localhost", "scheme": "HTTP"}}}}'
        assert await patient(named) == ""
        assert "failed" in await made(f'{{"httpGet": {{"port": {port}, "scheme": "HTTPS"}}}}')
    first, second = heads[0].decode().lower(), heads[1].decode().lower()
    assert first.startswith("get /up http/1.1\r\n")
    assert "x-one: two" in first
    assert "user-agent: istio-probe/1.0" in first
    assert second.startswith("get / http/1.1\r\n")
    assert "host: localhost" in second


@pytest.mark.parametrize(
    ("status", "reason"),
    [(200, ""), (302, ""), (404, "status 404: why"), (503, "status 503: why")],
)
async def test_http_is_well_below_400(status: int, reason: str) -> None:
    async with serving(answer(status, "why")) as port:
        assert await patient(f'{{"httpGet": {{"port": {port}}}}}') == reason


# proves: WorkloadGroup spec.probe.timeoutSeconds
async def test_an_answer_that_does_not_come_is_a_bad_one() -> None:
    command = '["sleep", "30"]'
    said = await made(f'{{"timeoutSeconds": 1, "exec": {{"command": {command}}}}}')
    assert said == "the command takes longer than 1 seconds"


# proves: WorkloadGroup spec.probe.tcpSocket.port, spec.probe.tcpSocket.host
async def test_tcp_is_a_connection() -> None:
    async with serving(b"") as port:
        assert await patient(f'{{"tcpSocket": {{"port": {port}}}}}') == ""
        assert await patient(f'{{"tcpSocket": {{"port": {port}, "host": "127.0.0.1"}}}}') == ""
        assert await patient(f'{{"tcpSocket": {{"port": {port}, "host": "127.0.0.77"}}}}')
    (closed,) = free_ports(1)
    assert await patient(f'{{"tcpSocket": {{"port": {closed}}}}}')


# proves: WorkloadGroup spec.probe.exec.command
async def test_a_command_is_well_if_it_ends_with_nothing() -> None:
    def run(code: str) -> str:
        return f'{{"exec": {{"command": ["{sys.executable}", "-Sc", "{code}"]}}}}'

    assert await patient(run("")) == ""
    assert await patient(run("raise SystemExit(3)")) == "the command ended with 3"
    assert "cannot be run" in await patient('{"exec": {"command": ["/no/such/program"]}}')


# proves: WorkloadGroup spec.probe.grpc.port, spec.probe.grpc.service
async def test_grpc_is_the_health_service() -> None:
    application, servicer = grpc.aio.server(), health.aio.HealthServicer()
    await servicer.set("up", health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("down", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, application)
    port = application.add_insecure_port("127.0.0.1:0")
    await application.start()
    try:
        assert await patient(f'{{"grpc": {{"port": {port}, "service": "up"}}}}') == ""
        assert await patient(f'{{"grpc": {{"port": {port}, "service": "down"}}}}')
        (closed,) = free_ports(1)
        assert await patient(f'{{"grpc": {{"port": {closed}, "service": "up"}}}}')
    finally:
        await application.stop(None)
