"""Signing: requests become chains on a thread, so that the event loop answers everybody meanwhile.

At most `queue` requests wait for the thread. Overflow: the request is refused with LimitedError and
counted (`seine_ca_limited_total{limit="queue"}`); the caller comes back after its backoff.
"""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from msgspec import Struct

from libs.model import revisions
from libs.model.ids import SpiffeId
from libs.pki import csr, sign, template
from libs.pki.authority import Authority
from libs.pki.template import Lifetimes
from libs.runtime.clock import Clock
from services.ca.errors import LimitedError
from services.ca.names import dns_names


class Rules(Struct, frozen=True):
    """What certificates look like, whoever asks."""

    lifetimes: Lifetimes
    system_namespace: str
    revision: str = revisions.DEFAULT


class Signer:
    """Signs for identities that others have proved. Use it as a context manager."""

    def __init__(
        self,
        authority: Callable[[], Authority],
        rules: Rules,
        *,
        clock: Clock,
        queue: int,
        cover: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        """Take `cover`: it is told each life, in seconds, before a certificate gets it."""
        self._cover = cover
        self._authority = authority
        self._rules = rules
        self._clock = clock
        self._queue = queue
        self._waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sign")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    async def sign(self, identity: SpiffeId, request: bytes, *, lifetime: int = 0) -> list[str]:
        """Return the PEM chain for `identity` and the key in `request`; `lifetime` is in seconds.

        Raises:
            LimitedError: too many requests wait.
            PkiError: the request or the lifetime is refused, or what was signed is not right.
            UnconfirmedError: it is not known whether the authority still signs.
            KubeError: a longer life than any before could not be recorded.

        """
        lifetimes = self._rules.lifetimes
        if self._cover is not None and lifetime <= lifetimes.maximum:
            await self._cover(lifetime if lifetime > 0 else lifetimes.default)
        if self._waiting >= self._queue:
            raise LimitedError("queue")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._thread, self._sign_now, identity, request, lifetime
            )
        finally:
            self._waiting -= 1

    def _sign_now(self, identity: SpiffeId, request: bytes, lifetime: int) -> list[str]:
        authority, rules = self._authority(), self._rules
        now = self._clock.now()
        key = csr.public_key(request)
        wanted = template.plan(
            identity,
            requested=lifetime,
            lifetimes=rules.lifetimes,
            signer=authority.validity,
            now=now,
            dns_names=dns_names(identity, rules.system_namespace, rules.revision),
        )
        return [pem.decode() for pem in sign.issue(wanted, key, authority=authority, now=now)]
