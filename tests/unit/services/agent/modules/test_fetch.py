"""Modules over HTTP from servers that do what they should not."""

import asyncio
import contextlib
import gzip
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from libs.runtime.reach import Reach
from services.agent.modules import body as bodies
from services.agent.modules import fetch
from services.agent.modules.door import Door
from services.agent.modules.errors import ModuleError
from services.agent.modules.fetch import fetch_module
from tests.support import wasm_module

HERE = Door(Reach(loopback=True))
MODULE = wasm_module.module()
DIGEST = hashlib.sha256(MODULE).hexdigest()

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[str]:
    """Serve connections; yield the address. None of them outlives the block."""
    writers: list[asyncio.StreamWriter] = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    listener = await asyncio.start_server(connected, "127.0.0.1")
    try:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    finally:
        listener.close()
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[str]:
    """Answer each path; yield the address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, headers, body = answer(head.split()[1])
        lines = "".join(f"{key}: {value}\r\n" for key, value in headers.items())
        writer.write(f"HTTP/1.1 {status} x\r\n{lines}connection: close\r\n\r\n".encode() + body)
        writer.close()

    async with listening(serve) as address:
        yield address


def always(body: bytes, status: int = 200, **headers: str) -> Answer:
    return lambda _: (status, headers, body)


async def refused(answer: Answer, folder: Path, *, door: Door = HERE, sha256: str = "") -> str:
    """Return why nothing is fetched from a server that answers so."""
    async with server(answer) as address:
        with pytest.raises(ModuleError) as caught:
            await fetch_module(f"{address}/m", folder / "m", door=door, sha256=sha256)
    return str(caught.value)


async def test_a_module_comes_as_it_is_or_packed(tmp_path: Path) -> None:
    for body in (MODULE, gzip.compress(MODULE)):
        async with server(always(body)) as address:
            found = await fetch_module(f"{address}/m", tmp_path / "m", door=HERE, sha256=DIGEST)
        assert found.sha256 == DIGEST
        assert (tmp_path / "m").read_bytes() == MODULE


async def test_another_module_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    assert "not " + "0" * 64 in await refused(always(MODULE), tmp_path, sha256="0" * 64)


async def test_what_is_no_module_is_refused(tmp_path: Path) -> None:
    assert "no module" in await refused(always(b"<html>"), tmp_path)
    assert "status 404" in await refused(always(MODULE, 404), tmp_path)


async def test_a_body_without_end_and_a_bomb_are_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_BYTES", 10_000)
    assert "longer" in await refused(always(MODULE + bytes(20_000)), tmp_path)
    assert "longer" in await refused(always(gzip.compress(MODULE + bytes(10_000_000))), tmp_path)
    assert (tmp_path / "m").stat().st_size <= 10_000 + 256 * 1024


async def test_a_packed_module_that_breaks_off_is_refused(tmp_path: Path) -> None:
    assert "breaks off" in await refused(always(gzip.compress(MODULE)[:-9]), tmp_path)


async def test_addresses_of_our_own_are_not_asked_even_by_redirect(tmp_path: Path) -> None:
    assert "loopback" in await refused(always(MODULE), tmp_path, door=Door(Reach()))
    metadata = always(b"", 302, location="http://169.254.169.254/latest")
    assert "metadata" in await refused(metadata, tmp_path)
    other = always(b"", 302, location="file:///etc/passwd")
    assert "only http" in await refused(other, tmp_path)


async def test_redirects_are_followed_but_not_for_ever(tmp_path: Path) -> None:
    async with server(
        lambda path: (200, {}, MODULE) if path == "/there" else (302, {"location": "/there"}, b"")
    ) as address:
        found = await fetch_module(f"{address}/m", tmp_path / "m", door=HERE)
        assert found.sha256 == DIGEST
    assert "redirects" in await refused(always(b"", 302, location="/m"), tmp_path)


async def test_a_slow_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "SECONDS", 0.05)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with listening(silent) as address:
        with pytest.raises(ModuleError, match=r"in time|within"):
            await fetch_module(address, tmp_path / "m", door=HERE)
