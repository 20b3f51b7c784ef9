"""Ports of pods and commands in them, through a real API server; behind it a kubelet of ours."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from libs.kube import execute, forward
from libs.kube.client import Client
from libs.kube.errors import (
    ForbiddenError,
    MalformedError,
    NotFoundError,
    PageStatusError,
    UnauthorizedError,
    UnreachableError,
)
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_apps import place
from tests.support.kubelet import Kubelet, kubelet

LARGE = b"0123456789abcdef" * 128 * 1024


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        yield client


@pytest.fixture(name="node")
async def node_of_it(client: Client, tmp_path: Path) -> AsyncIterator[Kubelet]:
    async with kubelet(client, tmp_path) as node:
        await place(client, "shop", "web-1", by="web", address="10.1.0.1")
        yield node


@asynccontextmanager
async def _site(node: Kubelet) -> AsyncIterator[None]:
    """Serve pages at port 8080 of the pod."""

    async def page(request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if kind == "chunked":
            answer = web.StreamResponse()
            await answer.prepare(request)
            for at in range(0, len(LARGE), 100_000):
                await answer.write(LARGE[at : at + 100_000])
            return answer
        if kind == "lines":
            answer = web.StreamResponse()
            await answer.prepare(request)
            for part in (b"a\n\n", b"b", b"c\nd", b"\n"):
                await answer.write(part)
            await asyncio.Event().wait()
        body = LARGE if kind == "large" else str(request.remote).encode()
        return web.Response(body=body, status=503 if kind == "broken" else 200)

    application = web.Application()
    application.add_routes([web.get("/{kind}", page)])
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        node.ports["web-1", 8080] = runner.addresses[0][1]
        yield
    finally:
        await runner.cleanup()


async def _get(client: Client, path: str, port: int = 8080) -> forward.Page:
    return await forward.get(client, "shop", "web-1", port=port, path=path)


async def test_a_page_of_a_pod_comes_whole_however_it_is_framed(
    client: Client, node: Kubelet
) -> None:
    async with _site(node):
        assert await _get(client, "/small") == forward.Page(200, b"127.0.0.1")
        assert await _get(client, "/large") == forward.Page(200, LARGE)
        assert await _get(client, "/chunked") == forward.Page(200, LARGE)
        assert (await _get(client, "/broken")).status == 503


async def test_lines_of_a_page_that_goes_on_come_as_they_are_written(
    client: Client, node: Kubelet
) -> None:
    async with _site(node):
        async with aclosing(_lines(client, "/lines")) as lines:
            assert [await anext(lines) for _ in range(3)] == [b"a", b"bc", b"d"]
        async with aclosing(_lines(client, "/lines", silence=0.5)) as lines:
            with pytest.raises(UnreachableError, match="nothing was heard"):
                [line async for line in lines]
        async with aclosing(_lines(client, "/broken")) as lines:
            with pytest.raises(PageStatusError, match="503"):
                await anext(lines)
        async with aclosing(_lines(client, "/small")) as lines:
            with pytest.raises(MalformedError, match="does not go on"):
                await anext(lines)


async def test_a_page_that_should_go_on_and_ends_has_broken(client: Client, node: Kubelet) -> None:
    async with _site(node), aclosing(_lines(client, "/chunked")) as lines:
        with pytest.raises(UnreachableError, match="has ended"):
            await anext(lines)


async def test_a_line_without_an_end_is_not_taken_in(
    client: Client, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "MAX_LINE_BYTES", 100_000)
    async with _site(node), aclosing(_lines(client, "/chunked")) as lines:
        with pytest.raises(MalformedError, match="a line of more than"):
            await anext(lines)


def _lines(client: Client, path: str, silence: float = 60.0) -> AsyncGenerator[bytes, None]:
    return forward.lines(client, "shop", "web-1", port=8080, path=path, silence=silence)


async def test_a_port_where_nobody_listens_is_told_in_the_kubelets_words(
    client: Client, node: Kubelet
) -> None:
    del node
    with pytest.raises(UnreachableError, match="error forwarding port 9"):
        await _get(client, "/small", port=9)


async def test_a_port_that_does_not_answer_is_given_up(
    client: Client, node: Kubelet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "PAGE_SECONDS", 0.5)
    node.silent.add("web-1")
    async with _site(node):
        with pytest.raises(UnreachableError, match="no answer of port 8080"):
            await _get(client, "/small")


@pytest.mark.parametrize(
    "said", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"x" * 70_000]
)
async def test_what_is_not_http_is_said_to_be_none(
    client: Client, node: Kubelet, said: bytes
) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        node.ports["web-1", 22] = listening.sockets[0].getsockname()[1]
        with pytest.raises(MalformedError):
            await _get(client, "/", port=22)


async def test_an_answer_that_is_cut_off_is_no_answer(client: Client, node: Kubelet) -> None:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        node.ports["web-1", 80] = listening.sockets[0].getsockname()[1]
        with pytest.raises(UnreachableError, match="in the middle"):
            await _get(client, "/", port=80)


async def test_who_may_not_is_told_what_is_needed(
    server: ApiServer, client: Client, node: Kubelet, tmp_path: Path
) -> None:
    del node
    await kube.account(client, "shop", "nobody")
    token = await kube.token(client, "shop", "nobody", audiences=())
    async with kube.client_of(server, tmp_path, token=token) as nobody:
        with pytest.raises(ForbiddenError, match="create and get of pods/portforward in namespace"):
            await _get(nobody, "/small")
        with pytest.raises(ForbiddenError, match="create and get of pods/exec in namespace shop"):
            await _run(nobody, "true")
    async with kube.client_of(server, tmp_path, token="nonsense") as stranger:
        with pytest.raises(UnauthorizedError):
            await _get(stranger, "/small")


async def test_a_pod_that_is_not_there_is_named(client: Client, node: Kubelet) -> None:
    del node
    with pytest.raises(NotFoundError, match="no pod web-9 in namespace shop"):
        await forward.get(client, "shop", "web-9", port=8080, path="/")


async def _run(client: Client, *command: str) -> tuple[int, bytes, bytes]:
    written = {execute.STDOUT: b"", execute.STDERR: b""}

    def out(channel: int, data: bytes) -> None:
        written[channel] += data

    code = await execute.execute(client, "shop", "web-1", container="app", command=command, out=out)
    return code, written[execute.STDOUT], written[execute.STDERR]


async def test_a_command_runs_in_a_container_and_says_how_it_ended(
    client: Client, node: Kubelet
) -> None:
    node.commands["echo a b"] = (b"a b\n", b"", 0)
    node.commands["false"] = (b"", b"no\n", 3)
    assert await _run(client, "echo", "a b") == (0, b"a b\n", b"")
    assert await _run(client, "false") == (3, b"", b"no\n")
    assert node.asked == ["app", "app"]
    with pytest.raises(UnreachableError, match="no nonsense in the container"):
        await _run(client, "nonsense")
