"""The CA in a process of its own, as a supervisor starts it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from libs.pki import keys
from libs.rpc import ca_client
from libs.runtime.clock import SystemClock
from tests.support.pki_ca import BOB
from tests.support.ports import free_ports
from tests.support.tokens import honest

ROOT = Path(__file__).parents[2]
_SECONDS = 60


class Process:
    """A CA in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.issuer = keys.load_or_generate(folder / "issuer.pem")
        (folder / "issuer-public.pem").write_bytes(keys.public_pem(self.issuer))
        now = SystemClock().now()
        (folder / "token").write_text(honest(BOB, self.issuer, now))  # type: ignore[arg-type]
        self.ports = free_ports(3)
        self._log = folder / "ca.log"
        self.process: asyncio.subprocess.Process

    @property
    def address(self) -> ca_client.CaAddress:
        return ca_client.CaAddress(
            f"127.0.0.1:{self.ports[0]}", self.folder / "root.pem", self.folder / "token"
        )

    async def start(self, **settings: str) -> None:
        environ = {
            "PATH": os.defpath,
            "PYTHONPATH": str(ROOT),
            "SEINE_PORT": str(self.ports[0]),
            "SEINE_MTLS_PORT": str(self.ports[1]),
            "SEINE_MONITORING_PORT": str(self.ports[2]),
            "SEINE_CA_DIR": str(self.folder / "ca"),
            "SEINE_ROOT_FILE": str(self.folder / "root.pem"),
            "SEINE_TOKEN_KEYS_FILE": str(self.folder / "issuer-public.pem"),
            **settings,
        }
        with self._log.open("wb") as log:  # a pipe that nobody reads would stop it
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "services.ca"), env=environ, stdout=log, stderr=log
            )
        async with aiohttp.ClientSession() as client, asyncio.timeout(_SECONDS):
            while not await self._ready(client):  # noqa: ASYNC110  # a process of its own
                await asyncio.sleep(0.05)

    async def get(self, path: str) -> str:
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"http://127.0.0.1:{self.ports[2]}{path}") as response,
        ):
            return await response.text()

    async def gauge(self, name: str) -> float:
        """Return one figure of /metrics."""
        lines = (await self.get("/metrics")).splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    async def settled(self, name: str, most: float) -> float:
        """Return the figure once it is no more than `most`, or what it still is after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS):
                # Connections are closed a little later.
                while await self.gauge(name) > most:  # noqa: ASYNC110 - another process
                    await asyncio.sleep(0.1)
        return await self.gauge(name)

    async def stop(self) -> tuple[int | None, str]:
        """Tell it to end; return how it did, and everything that it wrote."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        await self.process.wait()
        return self.process.returncode, self._log.read_text()

    async def _ready(self, client: aiohttp.ClientSession) -> bool:
        assert self.process.returncode is None, self._log.read_text()
        try:
            async with client.get(f"http://127.0.0.1:{self.ports[2]}/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False


@asynccontextmanager
async def started(folder: Path, **settings: str) -> AsyncIterator[Process]:
    process = Process(folder)
    try:
        await process.start(**settings)
        yield process
    finally:
        await process.stop()
