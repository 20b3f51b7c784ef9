"""Certificate: what the port shows, and that API servers believe it before it is shown.

Our CA certifies this service like any other. An API server trusts what the `caBundle` of a webhook
configuration says. So when the roots change, the bundle is written first, API servers get time to
notice, and only then the new certificate is used. A renewal under the same roots is used at once.
"""

import asyncio
import logging
from collections.abc import Awaitable
from functools import partial
from typing import Protocol

from libs.pki import bundle, csr, files, verify
from libs.pki.errors import PkiError
from libs.rpc import ca_client
from libs.rpc.kept import Handling, Kept
from libs.rpc.svid import Functions, Svid
from libs.rpc.tls import Material
from libs.runtime.clock import Clock
from services.webhook import metrics
from services.webhook.serving import ServingCertificate
from services.webhook.settings import Settings

logger = logging.getLogger(__name__)

PROPAGATION_SECONDS = 3.0
"""API servers follow webhook configurations by a watch, and nobody tells when they have seen it."""
PATIENCE_SECONDS = 60.0
"""How long a bundle that cannot be written holds up a certificate: the old one will expire."""


class Trust(Protocol):
    """What API servers trust; see `services.webhook.authorities`."""

    async def announce(self, roots: bytes) -> None:
        """Add roots (PEM)."""
        ...

    async def settle(self, roots: bytes) -> None:
        """Have these roots (PEM) and no others."""
        ...


def own(settings: Settings, clock: Clock) -> Svid:
    """Return this service's certificate, not yet obtained."""
    name = settings.ca_server_name or f"seine-ca.{settings.system_namespace}.svc"
    ca = ca_client.CaAddress(settings.ca_address, settings.ca_root_file, settings.token_file, name)
    functions = Functions(
        make_request=csr.make_with_key,
        validity=bundle.validity,
        sign=partial(ca_client.sign, ca),
        kept=Kept.within(
            settings.certificate_dir,
            Handling(files.write_private, verify.holding(clock.now), PkiError),
        ),
    )
    return Svid(functions, clock=clock)


class Handover:
    """Brings each new material of an Svid to the port, in the right order."""

    def __init__(self, certificate: ServingCertificate, trust: Trust, clock: Clock) -> None:
        self._certificate = certificate
        self._trust = trust
        self._clock = clock
        self._latest: Material | None = None
        self._changed = asyncio.Event()
        self._shown: Material | None = None
        self._in_use = asyncio.Event()

    def note(self, material: Material) -> None:
        """Take new material; `run` brings it to the port. Only the latest counts."""
        self._latest = material
        self._changed.set()

    async def run(self) -> None:
        """Hand over until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            if self._latest is not None:
                await self._hand_over(self._latest)

    async def ready(self) -> None:
        """Return once the port has a certificate to show."""
        await self._in_use.wait()

    async def _hand_over(self, material: Material) -> None:
        shown = self._shown
        roots_changed = shown is None or material.roots != shown.roots
        if shown is not None and roots_changed:
            await self._patiently(self._trust.announce(material.roots))
            await self._clock.sleep(PROPAGATION_SECONDS)
        self._certificate.use(material.key, material.chain)
        self._shown = material
        self._in_use.set()
        metrics.CERTIFICATE_EXPIRY.set(material.not_after)
        logger.info("certificate in use", extra={"not_after": round(material.not_after)})
        if roots_changed:
            await self._patiently(self._trust.settle(material.roots))

    async def _patiently(self, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await work
        except TimeoutError:
            logger.warning("api servers may not know the roots yet")
