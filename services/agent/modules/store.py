"""Store: the modules that were fetched, as files that Envoy can read, named by their digest.

A module whose digest is asked for is fetched once, and so is one that need not be the newest. Any
other is fetched whenever its configuration comes anew, and if that fails the last one that was had
of that address is used. At most KEPT files are kept; the oldest go first, which costs fetching them
again: Envoy has read them. Of REMEMBERED addresses it is known what was had; the same goes for
them. What was had with a Secret is had again only by who names the same one.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from services.agent import metrics
from services.agent.modules.door import Door
from services.agent.modules.errors import DigestError, ModuleError
from services.agent.modules.fetch import fetch_module
from services.agent.modules.source import Source

logger = logging.getLogger(__name__)

KEPT = 32
REMEMBERED = 256
ATTEMPTS = 2

_DIGEST = "@sha256:"

Sleep = Callable[[float], Awaitable[None]]
SecretOf = Callable[[str], Awaitable[bytes]]
"""Returns what an image pull Secret holds, by its name; raises ModuleError if there is none."""


async def no_secrets(name: str) -> bytes:
    """Know no Secret."""
    message = f"nobody knows the image pull Secret {name}"
    raise ModuleError(message)


class Store:
    """Files of modules in one folder."""

    def __init__(
        self, folder: Path, *, door: Door, sleep: Sleep, secret_of: SecretOf = no_secrets
    ) -> None:
        self._folder = folder
        self._door = door
        self._sleep = sleep
        self._secret_of = secret_of
        self._known: dict[tuple[str, str, str], str] = {}  # digests, of this process's life
        self._lock = asyncio.Lock()

    async def file(self, source: Source) -> Path:
        """Return the file of a module, fetched if need be.

        Raises:
            ModuleError: there is none.

        """
        async with self._lock:
            last = self._last(source)
            fixed = source.sha256 or _DIGEST in source.url
            held = last is not None and bool(fixed or source.once)
            metrics.WASM_LOOKUPS.labels(str(held).lower()).inc()
            if last is not None and held:
                return last
            try:
                digest = await self._fetch(source)
            except ModuleError as error:
                if fixed or last is None:
                    raise
                extra = {"url": source.url, "reason": str(error)}
                logger.warning("module not renewed", extra=extra)
                return last
            self._remember(source, digest)
            return self._path(digest)

    def _last(self, source: Source) -> Path | None:
        """Return the file that was had for this source, or that is what it asks for."""
        named = "" if source.pull_secret else source.sha256
        for digest in (self._known.get(_key(source), ""), named):
            if digest and self._path(digest).exists():
                return self._path(digest)
        return None

    def _remember(self, source: Source, digest: str) -> None:
        self._known.pop(_key(source), None)
        while len(self._known) >= REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[_key(source)] = digest

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.wasm"

    async def _fetch(self, source: Source) -> str:
        for attempt in range(ATTEMPTS):
            try:
                digest = await self._fetch_once(source)
            except ModuleError as error:
                wrong = isinstance(error, DigestError)
                result = "checksum_mismatched" if wrong else "download_failure"
                metrics.WASM_FETCHES.labels(result).inc()
                if attempt + 1 == ATTEMPTS:
                    raise
                await self._sleep(1.0)
            else:
                metrics.WASM_FETCHES.labels("success").inc()
                return digest
        raise AssertionError

    async def _fetch_once(self, source: Source) -> str:
        secret = await self._secret(source.pull_secret)
        with self._part() as part:
            found = await fetch_module(
                source.url, part, door=self._door, sha256=source.sha256, secret=secret
            )
            self._keep(part, found.sha256)
        return found.sha256

    async def _secret(self, name: str) -> bytes:
        if not name:
            return b""
        if name.startswith("{"):
            return name.encode()  # a control plane that sends the contents themselves
        return await self._secret_of(name)

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
        metrics.WASM_ENTRIES.set(min(len(found), KEPT))


def _key(source: Source) -> tuple[str, str, str]:
    return source.url, source.sha256, hashlib.sha256(source.pull_secret.encode()).hexdigest()
