"""Lease: one leader among the replicas that write the same objects.

    async with lease.leading():      # waits for its turn
        ...                          # cancelled, with LeaseLostError, when the turn is over

A holder renews every `retry` seconds and gives up by itself `deadline` after its last renewal
began, which is before anybody else may take over: `duration` after they saw it. Others trust their
own monotonic clock and what they see change, never the times in the object, so clocks may differ.
Moments count on the safe side: one's own turn from before the write was sent, what others did from
when one had read of it. A renewal is one request, over what was written last, so an API server that
takes three seconds for each answer takes nobody's turn away.

A process that was stopped for a while does not know it before its timers run. So a leader asks
`check` before each write, and writes with the resourceVersion that it read, which the API server
compares: between the two nothing of a leader that is none any more can overwrite its successor's.
What leaders do is not decided here.
"""

import asyncio
import datetime
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from libs.kube.client import Client
from libs.kube.errors import ConflictError, KubeError, LeaseLostError, NotFoundError
from libs.runtime.backoff import chance
from libs.runtime.clock import Clock
from libs.runtime.logs import words
from libs.runtime.tasks import background, leaves

logger = logging.getLogger(__name__)

_PATH = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"


class Terms(Struct, frozen=True, kw_only=True):
    """Seconds."""

    duration: float = 12.0
    """A holder that was not seen to renew for this long is replaced."""
    deadline: float = 8.0
    """A holder that could not renew for this long stops leading."""
    retry: float = 2.0
    """Between renewals, and between looks of those who wait."""


class Lease:
    """A Lease object and this process' part in it."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        name: str,
        *,
        holder: str,
        clock: Clock,
        terms: Terms | None = None,
    ) -> None:
        """Take `holder`: a name that no other process ever has, such as the pod's with its uid."""
        self._client = client
        self._folder = _PATH.format(namespace)
        self._path = f"{self._folder}/{name}"
        self._name = name
        self._holder = holder
        self._clock = clock
        self._terms = terms or Terms()
        self._seen: tuple[object, float] = (None, 0.0)
        self._until = 0.0  # of the monotonic clock, as the next
        self._wrote = 0.0
        """When the last write was sent."""
        self._tried = 0.0
        """When the last attempt began."""
        self._written: Mapping[str, Any] | None = None
        """The object as we wrote it last, if nobody is known to have written since."""

    @property
    def held(self) -> bool:
        """Whether this process leads now."""
        return self._clock.monotonic() < self._until

    def check(self) -> None:
        """Check that this process leads now; ask before each write.

        Raises:
            LeaseLostError: it does not, or cannot know.

        """
        if not self.held:
            raise LeaseLostError(f"lease {self._name} is not held (any more)")

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        """Wait until this process leads, and run the block while it does; then let go.

        Raises:
            LeaseLostError: in an ExceptionGroup; the block was cancelled because the lease is lost.

        """
        await self._acquire()
        logger.info("lease acquired", extra={"lease": self._name, "holder": self._holder})
        try:
            async with background(self._renew()):
                yield
        finally:
            await self._release()
            logger.info("lease released", extra={"lease": self._name, "holder": self._holder})

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` whenever this process leads, until cancelled.

        A KubeError ends one turn: the lease is let go, and another replica may fare better.
        """
        while True:
            try:
                async with self.leading():
                    await work()
            except* KubeError as group:
                for error in leaves(group):
                    logger.warning(
                        "turn as leader ended", extra={"lease": self._name, "reason": str(error)}
                    )
            await self._pause()

    async def _acquire(self) -> None:
        while not await self._attempt():
            await self._pause()

    async def _renew(self) -> None:
        while True:
            await self._pause(since=self._tried)
            self.check()
            left = self._until - self._clock.monotonic()
            try:
                async with asyncio.timeout(left):
                    await self._attempt()
            except TimeoutError:
                pass  # said by the next check
            self.check()

    async def _attempt(self) -> bool:
        """Take or renew the lease if that is possible; tell whether it is held."""
        self._tried = self._clock.monotonic()
        try:
            taken = await self._write_if_free()
        except ConflictError:
            return False  # somebody was faster
        except KubeError as error:
            logger.warning(
                "lease cannot be asked", extra={"lease": self._name, "reason": str(error)}
            )
            return self.held
        self._until = self._wrote + self._terms.deadline if taken else 0.0
        return taken

    async def _write_if_free(self) -> bool:
        if self._written is not None:
            try:
                await self._put(self._written)
            except (ConflictError, NotFoundError):
                self._written = None  # somebody wrote or deleted it: look
            else:
                return True
        try:
            found = await self._client.get(self._path)
        except NotFoundError:
            body = {"metadata": {"name": self._name}, "spec": self._spec({})}
            self._wrote = self._clock.monotonic()
            self._written = await self._client.request("POST", self._folder, body=body)
            return True
        if not self._free(found.get("spec") or {}):
            return False
        await self._put(found)
        return True

    async def _put(self, found: Mapping[str, Any]) -> None:
        """Write ourselves over `found`, if that is what is there."""
        body = {**found, "spec": self._spec(found.get("spec") or {})}
        self._wrote = self._clock.monotonic()
        self._written = await self._client.request("PUT", self._path, body=body)

    def _free(self, spec: Mapping[str, Any]) -> bool:
        """Tell whether the lease is ours, nobody's, or its holder's time is over."""
        now = self._clock.monotonic()
        mark = (spec.get("holderIdentity"), spec.get("renewTime"), spec.get("leaseTransitions"))
        if mark != self._seen[0]:
            self._seen = (mark, now)
        holder = spec.get("holderIdentity")
        if not holder or holder == self._holder:
            return True
        said = spec.get("leaseDurationSeconds")
        duration = float(said) if isinstance(said, int) else self._terms.duration
        return now - self._seen[1] > duration

    def _spec(self, before: Mapping[str, Any]) -> Mapping[str, Any]:
        now = _micro_time(self._clock.now())
        same = before.get("holderIdentity") == self._holder
        return {
            **before,
            "holderIdentity": self._holder,
            "leaseDurationSeconds": max(1, round(self._terms.duration)),
            "acquireTime": before.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (not same),
        }

    async def _release(self) -> None:
        """Let go at once, so that nobody has to wait; when that fails the others wait."""
        held, self._until, self._written = self.held, 0.0, None
        if not held:
            return
        try:
            async with asyncio.timeout(self._terms.retry):
                found = await self._client.get(self._path)
                if found["spec"].get("holderIdentity") != self._holder:
                    return
                found["spec"] = {**found["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
                await self._client.request("PUT", self._path, body=found)
        except (KubeError, TimeoutError) as error:
            extra = {"lease": self._name, "reason": words(error)}
            logger.warning("lease not released", extra=extra)

    async def _pause(self, since: float | None = None) -> None:
        gone = 0.0 if since is None else self._clock.monotonic() - since
        await self._clock.sleep(self._terms.retry * (0.9 + 0.2 * chance()) - gone)


def _micro_time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
