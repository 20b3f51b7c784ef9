"""Trust: the authority that signs and the keys that verify tokens, followed as their files change.

For a machine without a cluster; in a cluster both come from elsewhere: `services.ca.root_secret`.

A new authority is used only if nobody would be cut off: what the old one signed must still verify
under the new roots, and what the new one signs must verify under the roots that are out. Rotating a
root therefore takes three changes of the files, each of which is safe by itself: add the new root,
change the signer, drop the old root. Files that break this, or cannot be read, change nothing.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from libs.pki import authority, files, jwk
from libs.pki.authority import Authority
from libs.pki.errors import PkiError
from libs.runtime.clock import Clock
from services.ca import expiry, metrics, succession

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0

Signature = tuple[tuple[str, int, int], ...]


class Trust:
    """The authority and token keys of this moment."""

    def __init__(
        self, folder: Path, token_keys: Path, *, root_file: Path | None, clock: Clock
    ) -> None:
        self._folder = folder
        self._token_keys = token_keys
        self._root_file = root_file
        self._clock = clock
        self._on_change: list[Callable[[], None]] = []
        self.authority: Authority
        self.keys: jwk.KeySet
        self._seen: tuple[Signature, Signature]

    def load(self, organization: str) -> None:
        """Read everything for the first time; generate a root if the folder has none.

        Raises:
            PkiError: something that is there cannot be used.
            OSError: a file cannot be read or written.

        """
        now = self._clock.now()
        self.authority = authority.load_or_generate(self._folder, organization, now=now)
        self.keys = jwk.load(self._token_keys.read_bytes())
        self._seen = self._signatures()
        self._publish()

    def on_authority(self, callback: Callable[[], None]) -> None:
        """Call `callback` after each change of the authority."""
        self._on_change.append(callback)

    async def follow(self) -> None:
        """Notice changed files until cancelled."""
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            self._publish_expiry()
            latest = self._signatures()
            if latest[0] != self._seen[0]:
                self._attempt("authority", self._reload_authority)
            if latest[1] != self._seen[1]:
                self._attempt("token keys", self._reload_keys)
            self._seen = latest

    def _attempt(self, what: str, reload: Callable[[], None]) -> None:
        try:
            reload()
        except (PkiError, OSError) as error:
            metrics.RELOADS.labels(what=what, result="refused").inc()
            logger.warning("changed files refused", extra={"what": what, "reason": str(error)})
        else:
            metrics.RELOADS.labels(what=what, result="used").inc()
            logger.info("changed files used", extra={"what": what})

    def _reload_authority(self) -> None:
        now = self._clock.now()
        new = authority.load(self._folder, now=now)
        succession.check(self.authority, new, now=now)
        self.authority = new
        self._publish()
        for callback in self._on_change:
            callback()

    def _reload_keys(self) -> None:
        self.keys = jwk.load(self._token_keys.read_bytes())

    def _publish(self) -> None:
        if self._root_file is not None:
            files.write_public(self._root_file, self.authority.root_pem)
        self._publish_expiry()

    def _publish_expiry(self) -> None:
        expiry.publish(self.authority, now=self._clock.now(), plugged_in=True)

    def _signatures(self) -> tuple[Signature, Signature]:
        return _signature(sorted(self._folder.glob("*"))), _signature([self._token_keys])


def _signature(paths: list[Path]) -> Signature:
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((path.name, status.st_mtime_ns, status.st_size))
    return tuple(found)
