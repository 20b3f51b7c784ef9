import asyncio
from collections.abc import AsyncIterator, Mapping

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from msgspec import structs

from services.agent import probes
from services.agent.http import server
from services.agent.http.server import Answer, Asked
from services.agent.probes import Grpc, Header, HttpGet, Probe, Prober, ProbesError, TcpSocket

ADDRESS = "127.0.0.1"
seen: list[Asked] = []


async def route(asked: Asked) -> Answer:
    seen.append(asked)
    if asked.path == "/hangs":
        await asyncio.Event().wait()
    return Answer(503 if asked.path == "/ill" else 200, b"said")


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with server.serve(ADDRESS, 0, route) as number:
        yield number


async def answer(probe: Probe, *, seconds: float = 60, headers: Mapping[str, str] = {}) -> Answer:
    patient = structs.replace(probe, timeout_seconds=seconds)  # a busy machine is not an ill one
    prober = Prober({"/app-health/web/livez": patient}, ADDRESS)
    return await prober.answer(Asked("GET", "/app-health/web/livez", "", headers, local=False))


async def test_http_passes_the_status_on(port: int) -> None:
    well = await answer(Probe(http_get=HttpGet(port=port, path="live")))
    assert (well.status, well.body) == (200, b"said")
    assert (await answer(Probe(http_get=HttpGet(port=port, path="/ill")))).status == 503


async def test_http_sends_the_headers_of_probe_and_kubelet(port: int) -> None:
    own = (Header("Host", "web.example"), Header("X-Probe", "yes"))
    wanted = HttpGet(port=port, http_headers=own)
    await answer(Probe(http_get=wanted), headers={"user-agent": "kube-probe", "host": "pod"})
    assert seen[-1].headers["host"] == "web.example"
    assert seen[-1].headers["x-probe"] == "yes"
    assert seen[-1].headers["user-agent"] == "kube-probe"


async def test_an_application_that_hangs_or_is_away_fails(port: int) -> None:
    hangs = Probe(http_get=HttpGet(port=port, path="/hangs"))
    assert (await answer(hangs, seconds=1)).status == 500
    assert (await answer(Probe(http_get=HttpGet(port=1)))).status == 500


def _elsewhere(path: str, query: str) -> str:
    """Return where each path of an application that redirects leads."""
    where = {
        "/to-ill": "/ill",
        "/to-well": "well?a=%20b",
        "/round": "/round",
        "/out": "http://elsewhere.example/ill",
        "/nowhere": "http://[",
        "/absolute": f"http://{ADDRESS}:{query}/ill",
    }
    return where.get(path, "")


async def test_redirects_are_followed_on_the_same_host_only() -> None:
    asked_for: list[tuple[str, str, str]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        path, _, query = head.split(" ")[1].partition("?")
        host = next(line[6:] for line in head.splitlines() if line.startswith("Host: "))
        asked_for.append((path, query, host))
        where = _elsewhere(path, query)
        status = "302 Found" if where else "500 Ill" if path == "/ill" else "200 OK"
        lines = f"HTTP/1.1 {status}\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n"
        writer.write(lines.encode())
        await writer.drain()
        writer.close()

    application = await asyncio.start_server(talk, ADDRESS, 0)
    number = application.sockets[0].getsockname()[1]
    own = (Header("Host", "web.example"),)

    async def status(path: str) -> int:
        asked_for.clear()
        wanted = HttpGet(port=number, path=path, http_headers=own)
        return (await answer(Probe(http_get=wanted))).status

    try:
        assert await status("/to-ill") == 500
        assert await status("/to-well") == 200
        assert asked_for[1] == ("/well", "a=%20b", "web.example")
        assert await status(f"/absolute?{number}") == 500
        assert asked_for[1] == ("/ill", "", f"{ADDRESS}:{number}")
        assert await status("/out") == 302  # kubelet takes it, with a warning
        assert len(asked_for) == 1
        assert await status("/round") == 500
        assert len(asked_for) == 10
        assert await status("/nowhere") == 500
    finally:
        application.close()


async def test_paths_are_written_as_requests_have_them(port: int) -> None:
    assert (await answer(Probe(http_get=HttpGet(port=port, path="/a b/é?c=%20%")))).status == 200
    assert seen[-1].path == "/a%20b/%C3%A9"


async def test_tcp(port: int) -> None:
    assert (await answer(Probe(tcp_socket=TcpSocket(port=port)))).status == 200
    assert (await answer(Probe(tcp_socket=TcpSocket(port=1)))).status == 500


async def test_grpc_asks_the_standard_health_service(port: int) -> None:
    application = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, application)
    number = application.add_insecure_port(f"{ADDRESS}:0")
    await application.start()
    await servicer.set("shop", health_pb2.HealthCheckResponse.SERVING)
    for size in (127, 128, 300, 20_000):
        await servicer.set("s" * size, health_pb2.HealthCheckResponse.SERVING)
    await servicer.set("ill", health_pb2.HealthCheckResponse.NOT_SERVING)
    try:
        for service, status in (("", 200), ("shop", 200), ("ill", 500), ("unknown", 500)):
            assert (await answer(Probe(grpc=Grpc(number, service)))).status == status
        for size in (127, 128, 300, 20_000):
            assert (await answer(Probe(grpc=Grpc(number, "s" * size)))).status == 200
            assert (await answer(Probe(grpc=Grpc(number, "t" * size)))).status == 500
        assert (await answer(Probe(grpc=Grpc(port)))).status == 500
    finally:
        await application.stop(None)


async def test_only_known_paths_are_probed() -> None:
    prober = Prober({}, ADDRESS)
    asked = Asked("GET", "/app-health/x/livez", "", {}, local=False)
    assert (await prober.answer(asked)).status == 404


def test_the_document_that_injection_writes_is_read() -> None:
    found = probes.parse(
        '{"/app-health/web/livez":{"httpGet":{"path":"/h","port":80,"scheme":"HTTP",'
        '"httpHeaders":[{"name":"a","value":"b"}]},"timeoutSeconds":3},'
        '"/app-health/web/readyz":{"grpc":{"port":9,"service":null}}}'.replace("null", '"s"')
    )
    live = found["/app-health/web/livez"]
    assert live.timeout_seconds == 3
    assert live.http_get == HttpGet(port=80, path="/h", http_headers=(Header("a", "b"),))
    assert found["/app-health/web/readyz"].grpc == Grpc(9, "s")
    for wrong in ("[]", '{"x": {"httpGet": {"port": "http"}}}', "{"):
        with pytest.raises(ProbesError):
            probes.parse(wrong)
