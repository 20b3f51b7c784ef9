"""Trust: which roots this agent's Envoy has accepted, and how the control plane is told.

The CA lets a new root sign only when everybody trusts it. So each stream for configuration says in
a header which roots Envoy has, by half of their SHA-256. A stream cannot say it again: when the
roots have changed it is opened anew, which costs a reconnect of Envoy at each step of a rotation.
What Envoy had before its first certificate came is `none`, and is not a reason to reconnect.
"""

import asyncio
import binascii
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path

from libs.runtime.clock import Clock

HEADER = "seine-trusted-roots"
NONE = "none"
MAX_ROOTS = 32
LOOK_SECONDS = 5.0
_END = "-----END CERTIFICATE-----"


class TrustedRoots:
    """The roots that Envoy has accepted."""

    def __init__(self) -> None:
        self._offered: dict[str, str] = {}  # version of the secret → what it comes to
        self._accepted = NONE
        self._changed = asyncio.Event()

    @property
    def header(self) -> str:
        """What a stream says that is opened now; empty if nobody here knows."""
        return self._accepted

    def forget(self) -> None:
        """Say nothing, because Envoy's roots come from elsewhere."""
        self._accepted = ""

    def offer(self, version: str, roots: str) -> None:
        """Note that Envoy is offered `roots` (PEM) as a version of its secret."""
        self._offered = {**dict(list(self._offered.items())[-3:]), version: identifiers(roots)}

    def accept(self, version: str) -> None:
        """Note that Envoy has taken a version."""
        accepted = self._offered.get(version)
        if accepted is None or accepted == self._accepted or not self._accepted:
            return
        first = self._accepted == NONE
        self._accepted = accepted
        if not first:
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    def next_change(self) -> asyncio.Event:
        """Return the event that is set when streams have to say something else."""
        return self._changed


class Published:
    """Looks at the file of the CA's roots, which kubelet replaces when the ConfigMap changes.

    A new root there is a reason to renew: the answer brings the bundle of this moment, so that a
    rotation need not wait until every certificate is at half of its life.
    """

    def __init__(self, path: Path, on_change: Callable[[], None], *, clock: Clock) -> None:
        self._path = path
        self._on_change = on_change
        self._clock = clock

    async def run(self) -> None:
        """Look until cancelled."""
        before = self._read()
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            now = self._read()
            if now not in {before, NONE}:
                if before != NONE:
                    self._on_change()
                before = now

    def _read(self) -> str:
        try:
            return identifiers(self._path.read_text())
        except (OSError, ValueError):
            return NONE  # whoever needs it says what is wrong with it


def identifiers(roots: str) -> str:
    """Return the identifiers of a bundle's certificates, as the header has them."""
    found = set()
    for block in roots.split(_END)[:-1][:MAX_ROOTS]:
        begin = block.find("-----BEGIN CERTIFICATE-----")
        try:
            der = ssl.PEM_cert_to_DER_cert(block[begin:] + _END)
        except (ValueError, binascii.Error):
            continue
        found.add(hashlib.sha256(der).hexdigest()[:32])
    return ",".join(sorted(found)) or NONE
