"""The CA in a process of its own, as a supervisor starts it."""

import asyncio
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


class Process:
    """A CA in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.issuer = keys.load_or_generate(folder / "issuer.pem")
        (folder / "issuer-public.pem").write_bytes(keys.public_pem(self.issuer))
        now = SystemClock().now()
        (folder / "token").write_text(honest(BOB, self.issuer, now))  # type: ignore[arg-type]
        self.ports = free_ports(3)
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
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.ca",
            env=environ,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with aiohttp.ClientSession() as client, asyncio.timeout(30):
            while not await self._ready(client):  # noqa: ASYNC110  # a process of its own
                await asyncio.sleep(0.05)

    async def get(self, path: str) -> str:
        async with aiohttp.ClientSession() as client:
            response = await client.get(f"http://127.0.0.1:{self.ports[2]}{path}")
            return await response.text()

    async def gauge(self, name: str) -> float:
        """Return one figure of /metrics."""
        lines = (await self.get("/metrics")).splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    async def stop(self) -> tuple[int | None, str]:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        output, errors = await self.process.communicate()
        return self.process.returncode, (output + errors).decode()

    async def _ready(self, client: aiohttp.ClientSession) -> bool:
        assert self.process.returncode is None
        try:
            response = await client.get(f"http://127.0.0.1:{self.ports[2]}/ready")
        except aiohttp.ClientError:
            return False
        return response.status == 200


@asynccontextmanager
async def started(folder: Path, **settings: str) -> AsyncIterator[Process]:
    process = Process(folder)
    await process.start(**settings)
    try:
        yield process
    finally:
        await process.stop()
