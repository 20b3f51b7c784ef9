"""Rotator: the leader's clock loop, which takes the steps of the rotation when they are due.

It also records what of a plugged-in authority is in use, and writes Secrets of ours again that are
gone or have gone back in time. What the steps are is in `services.ca.rotation`; this asks for
proof, takes one step at a time, and counts.
"""

import logging
from collections.abc import Callable

from libs.kube.errors import ConflictError
from libs.runtime.clock import Clock
from services.ca import metrics, rotation
from services.ca.in_use import InUse
from services.ca.proof import Proof
from services.ca.root_secret import RootSecret
from services.ca.rotation import State

logger = logging.getLogger(__name__)


class Rotator:
    """Runs on the leader."""

    def __init__(
        self,
        secret: RootSecret,
        proof: Proof,
        *,
        clock: Clock,
        check: Callable[[], None],
    ) -> None:
        """Take `check`, which raises LeaseLostError when this replica leads no more."""
        self._secret = secret
        self._proof = proof
        self._clock = clock
        self._check = check

    async def run(self) -> None:
        """Take steps until cancelled.

        Raises:
            KubeError: the Secret cannot be written, or the lease is lost.

        """
        while True:
            await self.step()
            await self._clock.sleep(self._secret.rules.check)

    async def step(self) -> str:
        """Read, and take the step that is due; return its name, empty if there is none."""
        await self._secret.refresh()
        if self._secret.due is not None:
            return await self._record(self._secret.due)
        state = self._secret.state
        if state is None:
            return ""
        _show(state)
        if self._secret.astray:
            return await self._write("restore", state, over=state)
        due = rotation.next_step(
            state,
            now=self._clock.now(),
            proved=await self._proved(state),
            asked=self._secret.asked,
            settle=self._secret.rules.settle,
            make=self._secret.fresh,
        )
        return await self._write(*due, over=state) if due else ""

    async def _proved(self, state: State) -> bool:
        coming = state.record.slots.next
        if coming is None:
            metrics.UNPROVED.set(0)
            return False
        record = state.record
        proved = await self._proof.holds(coming.id, since=record.prepared, longest=record.longest)
        metrics.UNPROVED.set(not proved)
        return proved

    async def _record(self, due: InUse) -> str:
        """Record what of a plugged-in authority signs from now on."""
        before = self._secret.in_use
        self._check()
        try:
            await self._secret.record(due, over=before)
        except ConflictError:
            return ""  # somebody else wrote: look again at the next turn
        if before is not None and before.signer is due.signer:
            return "restore"
        metrics.ROTATIONS.labels(step="plug in").inc()
        logger.info("plugged-in authority in use", extra={"generation": due.record.generation})
        return "plug in"

    async def _write(self, step: str, state: State, *, over: State) -> str:
        self._check()
        try:
            await self._secret.write(state, over=over)
        except ConflictError:
            return ""  # somebody else wrote: look again at the next turn
        metrics.ROTATIONS.labels(step=step).inc()
        _show(state)
        logger.info(
            "root rotated",
            extra={
                "step": step,
                "generation": state.record.generation,
                "roots": list(state.record.slots.trusted),
            },
        )
        return step


def _show(state: State) -> None:
    slots = state.record.slots
    metrics.SLOTS.labels(slot="current").set(1)
    metrics.SLOTS.labels(slot="next").set(slots.next is not None)
    metrics.SLOTS.labels(slot="retiring").set(len(slots.retiring))
