"""What may be asked on behalf of somebody who writes a URL."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from services.discovery import outgoing
from services.discovery.outgoing import MAX_BYTES, FetchError, Reach, opened, refusal

CLOSED, OPEN = Reach(private=False), Reach(loopback=True)

NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "fe80::1",
    "fe80::1%eth0",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "0.0.0.0",  # noqa: S104
    "::",
    "224.0.0.1",
    "255.255.255.255",
]


@pytest.mark.parametrize("address", NEVER)
def test_addresses_that_no_setting_opens(address: str) -> None:
    assert refusal(address, Reach(loopback=True, private=True))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"])
def test_loopback(address: str) -> None:
    assert "loopback" in refusal(address, Reach())
    assert refusal(address, OPEN) == ""


@pytest.mark.parametrize(
    "address", ["10.0.0.1", "192.168.0.1", "172.16.9.9", "100.64.0.1", "fd01::1"]
)
def test_private_addresses(address: str) -> None:
    assert "private" in refusal(address, CLOSED)
    assert refusal(address, Reach()) == ""


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07::1"])
def test_public_addresses(address: str) -> None:
    assert refusal(address, CLOSED) == ""


Handler = Callable[[web.Request], object]


@asynccontextmanager
async def server(handler: Handler) -> AsyncIterator[tuple[int, list[str]]]:
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.path_qs)
        answer = handler(request)
        if asyncio.iscoroutine(answer):
            answer = await answer
        assert isinstance(answer, web.StreamResponse)
        return answer

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    try:
        yield port, asked
    finally:
        await runner.cleanup()


async def fetch(url: str, reach: Reach = OPEN, seconds: float = 5) -> bytes:
    async with opened(reach) as client:
        return await client.get(url, seconds=seconds)


async def test_a_document_is_fetched() -> None:
    async with server(lambda _: web.Response(body=b"{}")) as (port, asked):
        assert await fetch(f"http://127.0.0.1:{port}/keys?x=1") == b"{}"
        assert asked == ["/keys?x=1"]


FORMS = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://localhost.:{port}/",
    "http://127.1:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://2130706433:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://[::1]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://0.0.0.0:{port}/",
    "http://0:{port}/",
    "http://good@127.0.0.1:{port}/",
    "http://good:word@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://example.com\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://[fe80::1%25lo]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:a9fe:a9fe]/",
    "file:///etc/passwd",
    "unix:///run/x.sock",
    "ftp://127.0.0.1:{port}/",
    "gopher://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
    "http://",
    "http:///x",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:{port}/\r\nhost: x",
    "",
]


@pytest.mark.parametrize("form", FORMS)
async def test_no_way_of_writing_it_reaches_this_machine(form: str) -> None:
    async with server(lambda _: web.Response(body=b"secret")) as (port, asked):
        with pytest.raises(FetchError):
            await fetch(form.replace("{port}", str(port)), Reach(loopback=False, private=False))
        assert asked == []


async def test_redirects_are_judged_like_the_first_address() -> None:
    def elsewhere(request: web.Request) -> web.Response:
        to = {"/meta": "http://169.254.169.254/", "/file": "file:///etc/passwd", "/near": "/end"}
        if request.path in to:
            return web.Response(status=302, headers={"location": to[request.path]})
        if request.path == "/end":
            return web.Response(body=b"end")
        return web.Response(status=302, headers={"location": "/round"})

    async with server(elsewhere) as (port, _):
        assert await fetch(f"http://127.0.0.1:{port}/near") == b"end"
        for path, words in (("meta", "metadata"), ("file", "only http"), ("round", "redirects")):
            with pytest.raises(FetchError, match=words):
                await fetch(f"http://127.0.0.1:{port}/{path}")


async def test_a_name_that_resolves_differently_later_gains_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = asyncio.get_running_loop().getaddrinfo
    answers = iter(["93.184.215.14", "127.0.0.1"])
    dialled: list[str] = []

    async def flip(host: str, *args: object, **kwargs: object) -> object:
        return await real(next(answers, "127.0.0.1"), *args, **kwargs)  # type: ignore[arg-type]

    def record(address: str, reach: Reach) -> str:
        dialled.append(address)
        return refusal(address, reach) or ("not in a test" if address == "93.184.215.14" else "")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", flip, raising=False)
    monkeypatch.setattr(outgoing, "refusal", record)
    async with server(lambda _: web.Response(body=b"secret")) as (port, asked):
        for _ in range(2):
            with pytest.raises(FetchError):
                await fetch(f"http://rebinding.example:{port}/", Reach())
        assert asked == []
    assert "127.0.0.1" in dialled


async def test_bodies_have_a_limit_in_size_and_time() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        if request.path == "/large":
            for _ in range(MAX_BYTES // 65536 + 2):
                await answer.write(b"x" * 65536)
        else:
            await answer.write(b"x")
            await asyncio.Event().wait()
        return answer

    async with server(endless) as (port, _):
        with pytest.raises(FetchError, match="more than"):
            await fetch(f"http://127.0.0.1:{port}/large")
        with pytest.raises(FetchError, match="no answer within"):
            await fetch(f"http://127.0.0.1:{port}/silent", seconds=0.1)


async def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b"x" * 10_000_000)
    headers = {"content-encoding": "gzip"}
    async with server(lambda _: web.Response(body=bomb, headers=headers)) as (port, _):
        with pytest.raises(FetchError, match="compressed"):
            await fetch(f"http://127.0.0.1:{port}/")


async def test_an_error_is_no_document() -> None:
    async with server(lambda _: web.Response(status=500, body=b"{}")) as (port, _):
        with pytest.raises(FetchError, match="status 500"):
            await fetch(f"http://127.0.0.1:{port}/")
