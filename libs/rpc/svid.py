"""SVID: a service's own certificate, obtained from the CA and renewed while the process lives.

Each renewal makes a fresh key. It is due at half of the certificate's life ± 5 %, so that replicas
that started together do not come back together. A failed attempt is repeated with backoff while the
old certificate still serves; at the start, that of the process before, if it was kept. Making keys
and reading certificates are functions passed in: this room knows no cryptography.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence

import grpc
from msgspec import Struct

from libs.rpc.errors import CaError
from libs.rpc.kept import Kept
from libs.rpc.tls import Keychain, Material
from libs.runtime import metrics
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import pause

logger = logging.getLogger(__name__)

RENEW_AT = 0.5
RENEW_JITTER = 0.05
LONGEST_BACKOFF = 8.0
"""Seconds: who may have no certificate any more is to have one soon after the CA is back."""


class Functions(Struct, frozen=True):
    """What is passed in."""

    make_request: Callable[[], tuple[bytes, bytes]]
    """Returns `(key PEM, request PEM)` of a fresh key: `libs.pki.csr.make_with_key`."""
    validity: Callable[[bytes], tuple[float, float]]
    """Returns `(not before, not after)` of a leaf in PEM: `libs.pki.bundle.validity`."""
    sign: Callable[[bytes], Awaitable[Sequence[str]]]
    """Asks the CA: `functools.partial(libs.rpc.ca_client.sign, address)`."""
    kept: Kept | None = None
    """Where the certificate outlives the process, if anywhere."""


class Svid:
    """The current certificate of this process, for its ports and its channels."""

    def __init__(
        self,
        functions: Functions,
        *,
        clock: Clock | None = None,
        backoff: Backoff | None = None,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._functions = functions
        self._clock = clock or SystemClock()
        self._backoff = backoff or Backoff(first=0.2, limit=LONGEST_BACKOFF)
        self._chance = chance
        self._keychain = Keychain()
        self._obtained = asyncio.Event()
        self._wake = asyncio.Event()
        self._callbacks: list[Callable[[Material], None]] = []
        metrics.LIFE_LEFT.set_function(self.life_left)

    @property
    def material(self) -> Material:
        """Key, chain and roots of this moment.

        Raises:
            NotReadyError: nothing was obtained yet.

        """
        return self._keychain.material

    def life_left(self) -> float:
        """Return which share of the certificate's life is left; below 0 once it has expired."""
        if not self._obtained.is_set():
            return math.nan
        now, material = self._clock.now(), self.material
        return (material.not_after - now) / (material.not_after - material.not_before)

    def on_change(self, callback: Callable[[Material], None]) -> None:
        """Call `callback` with every new material from now on; it must not block."""
        self._callbacks.append(callback)

    async def ready(self) -> None:
        """Return once there is a certificate."""
        await self._obtained.wait()

    def server_credentials(self, *, mutual: bool) -> grpc.ServerCredentials:
        """Return credentials of a port that follow every renewal; see `Keychain`."""
        return self._keychain.server_credentials(mutual=mutual)

    def channel_credentials(self) -> grpc.ChannelCredentials:
        """Return credentials of a channel with the certificate of this moment."""
        return self._keychain.channel_credentials()

    async def run(self) -> None:
        """Obtain and renew until cancelled."""
        attempt = 0
        self._use_kept()
        while True:
            try:
                material = await self._obtain()
            except CaError as error:
                delay = self._backoff.delay(attempt, self._chance())
                attempt += 1
                logger.warning(
                    "no certificate from the ca",
                    extra={"reason": str(error), "retry_seconds": round(delay, 2)},
                )
            else:
                attempt = 0
                self._use(material)
                delay = self._renew_in(material)
            await pause(delay, self._wake, self._clock)
            self._wake.clear()

    def renew_now(self) -> None:
        """Renew before it is due, because what signs or what is trusted has changed."""
        self._wake.set()

    async def _obtain(self) -> Material:
        key, request = self._functions.make_request()
        chain = await self._functions.sign(request)
        leaf_and_between = "".join(chain[:-1]).encode()
        not_before, not_after = self._functions.validity(chain[0].encode())
        return Material(
            key=key,
            chain=leaf_and_between,
            roots=chain[-1].encode(),
            not_before=not_before,
            not_after=not_after,
        )

    def _use_kept(self) -> None:
        """Go on with the certificate of the process before; another is asked for all the same."""
        kept = self._functions.kept.load() if self._functions.kept else None
        if kept is not None:
            self._show(kept)
            logger.info("kept certificate in use", extra={"not_after": round(kept.not_after)})

    def _use(self, material: Material) -> None:
        self._show(material)
        if self._functions.kept is not None:
            self._functions.kept.keep(material)
        logger.info("certificate obtained", extra={"not_after": round(material.not_after)})

    def _show(self, material: Material) -> None:
        self._keychain.replace(material)
        self._obtained.set()
        for callback in self._callbacks:
            callback(material)

    def _renew_in(self, material: Material) -> float:
        life = material.not_after - material.not_before
        share = RENEW_AT + RENEW_JITTER * (2 * self._chance() - 1)
        return max(material.not_before + life * share - self._clock.now(), 1.0)
