"""Store: the modules that were fetched, as files that Envoy can read, named by their digest.

A module whose digest is asked for is fetched once. One without is fetched whenever its
configuration comes anew, and if that fails the last one that was had of that address is used. At
most KEPT files are kept; the oldest go first, which costs fetching them again: Envoy has read them.
"""

import asyncio
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from libs.runtime.reach import Reach
from services.agent.modules.fetch import ModuleError, fetch_module

logger = logging.getLogger(__name__)

KEPT = 32
ATTEMPTS = 2

Sleep = Callable[[float], Awaitable[None]]


class Store:
    """Files of modules in one folder."""

    def __init__(self, folder: Path, *, reach: Reach, sleep: Sleep) -> None:
        self._folder = folder
        self._reach = reach
        self._sleep = sleep
        self._by_url: dict[str, str] = {}  # digest by address, of this process's life
        self._lock = asyncio.Lock()

    async def file(self, url: str, sha256: str) -> Path:
        """Return the file of a module, fetched if need be.

        Raises:
            ModuleError: there is none.

        """
        async with self._lock:
            known = self._path(sha256) if sha256 else None
            if known is not None and known.exists():
                return known
            try:
                digest = await self._fetch(url, sha256)
            except ModuleError as error:
                last = self._path(self._by_url.get(url, "none"))
                if sha256 or not last.exists():
                    raise
                logger.warning("module not renewed", extra={"url": url, "reason": str(error)})
                return last
            self._by_url[url] = digest
            return self._path(digest)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.wasm"

    async def _fetch(self, url: str, sha256: str) -> str:
        for attempt in range(ATTEMPTS):
            try:
                return await self._fetch_once(url, sha256)
            except ModuleError:
                if attempt + 1 == ATTEMPTS:
                    raise
                await self._sleep(1.0)
        raise AssertionError

    async def _fetch_once(self, url: str, sha256: str) -> str:
        with self._part() as part:
            digest = await fetch_module(url, part, reach=self._reach, sha256=sha256)
            self._keep(part, digest)
        return digest

    @contextmanager
    def _part(self) -> Iterator[Path]:
        """Yield a file to write to, which is gone after the block unless it was kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
        os.close(handle)
        part = Path(name)
        try:
            yield part
        finally:
            part.unlink(missing_ok=True)

    def _keep(self, part: Path, digest: str) -> None:
        part.replace(self._path(digest))
        self._tidy()

    def _tidy(self) -> None:
        found = sorted(self._folder.glob("*.wasm"), key=lambda path: path.stat().st_mtime_ns)
        for path in found[:-KEPT]:
            path.unlink(missing_ok=True)
