"""Findings: what config-push sees become of patches, and of listeners that two want, as problems.

Every replica of discovery follows every config-push that runs, because whoever asks for problems
may ask any of them, and its leader writes them into statuses. Each has a stream of its own, opened
again with growing pauses; while it is broken, its last word counts. A patch matches nothing only if
it does so at all proxies of all replicas. Numbers of proxies are rough, so that a text, and with it
a status, does not change whenever a proxy comes.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import grpc
import grpc.aio

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.protos.findings.v1.findings_pb2 import Finding, Patch, PatchList, WatchRequest
from libs.protos.findings.v1.findings_pb2_grpc import FindingsStub
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from libs.xds import outcomes
from libs.xds.types import Conflict
from services.discovery import metrics
from services.discovery.status.replicas import MAX_REPLICAS, Connect

logger = logging.getLogger(__name__)

BACKOFF = Backoff(first=0.2, limit=10.0)
_STEPS = (1, 2, 5)

_KINDS: Mapping[Finding.Kind.ValueType, tuple[str, Severity, str]] = {
    Finding.MISFIT: (reasons.PATCH_MISFIT, Severity.WARNING, "{text}"),
    Finding.REFUSED: (reasons.PATCH_REFUSED, Severity.ERROR, "refused by Envoy: {text}"),
    Finding.NOT_IN_FORCE: (reasons.PATCH_NOT_IN_FORCE, Severity.WARNING, "{text}"),
}


def problems(lists: Iterable[PatchList], known: Collection[Ref]) -> list[Problem]:
    """Return the problems of those EnvoyFilters that are `known`, in order."""
    alike: dict[tuple[Ref, int], list[Patch]] = defaultdict(list)
    for said in lists:
        for patch in said.patches:
            if Ref(patch.ref) in known:
                alike[Ref(patch.ref), patch.index].append(patch)
    return sorted(one for place, said in alike.items() for one in _problems(*place, said))


def lost(lists: Iterable[PatchList], known: Collection[Ref]) -> list[Problem]:
    """Return one problem of each resource among `known` that lost a listener, in order."""
    first: dict[Ref, Conflict] = {}
    for said in lists:
        for one in said.conflicts:
            conflict = Conflict(one.listener, Ref(one.kept), Ref(one.lost), one.reason)
            if conflict.lost in known:
                first[conflict.lost] = min(conflict, first.get(conflict.lost, conflict))
    reason, severity = reasons.LISTENER_CONFLICT, Severity.WARNING
    return [Problem(ref, "", reason, outcomes.lost(first[ref]), severity) for ref in sorted(first)]


def _listening(mesh: Mesh) -> frozenset[Ref]:
    """Return whatever can have listeners at its callers."""
    services = (row.ref for row in mesh.services.values())
    return frozenset((*services, *(row.ref for row in mesh.sidecars.values())))


def _problems(ref: Ref, index: int, said: list[Patch]) -> Iterator[Problem]:
    path = f"spec.configPatches[{index}]" if index >= 0 else "spec.configPatches"
    every = sum(patch.proxies for patch in said)
    found: dict[Finding.Kind.ValueType, list[Finding]] = defaultdict(list)
    for finding in (one for patch in said for one in patch.findings):
        found[finding.kind].append(finding)
    for kind, alike in found.items():
        if kind in _KINDS:  # what a newer config-push finds, nobody here has a word for
            reason, severity, form = _KINDS[kind]
            text = form.format(text=min(one.text for one in alike))
            counted = _counted(sum(one.proxies for one in alike), every)
            yield Problem(ref, path, reason, f"{text} ({counted})", severity)
    if every and not found and not any(patch.applied for patch in said):
        text = f"the patch matches nothing at any of the proxies that it is for: {_rough(every)}"
        yield Problem(ref, path, reasons.PATCH_WITHOUT_EFFECT, text, Severity.WARNING)


def _counted(some: int, every: int) -> str:
    if every <= some:
        return (
            f"all proxies that it is for: {_rough(some)}" if every else f"proxies: {_rough(some)}"
        )
    return f"proxies: {_rough(some)} of {_rough(every)}"


def _rough(number: int) -> str:
    """Return a number below 10 as it is, a larger one as the round one below it."""
    if number < 10:
        return str(number)
    size = 10 ** (len(str(number)) - 1)
    return f"{max(size * step for step in _STEPS if size * step <= number)} or more"


class Findings:
    """Follows replicas; `run` does the work."""

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        *,
        places: Callable[[Mesh], frozenset[str]],
        moved: Callable[[], None],
    ) -> None:
        """Take where replicas are, and what is called whenever `about` may say something else."""
        self._connect = connect
        self._clock = clock
        self._places = places
        self._moved = moved
        self._said: dict[str, PatchList] = {}
        self._wanted: frozenset[str] = frozenset()
        self._changed = asyncio.Event()

    def about(self, mesh: Mesh) -> list[Problem]:
        """Return the problems of what `mesh` has; follow its replicas from now on.

        Those beyond MAX_REPLICAS are not followed.
        """
        wanted = frozenset(sorted(self._places(mesh))[:MAX_REPLICAS])
        if wanted != self._wanted:
            self._wanted = wanted
            self._changed.set()
        said = self._said.values()
        found = problems(said, {row.ref for row in mesh.patches.values()})
        return found + lost(said, _listening(mesh)) if any(it.conflicts for it in said) else found

    async def run(self) -> None:
        """Follow until cancelled."""
        running: dict[str, asyncio.Task[None]] = {}
        async with background() as group:
            while True:
                for address in running.keys() - self._wanted:
                    running.pop(address).cancel()
                    if self._said.pop(address, None) is not None:
                        self._moved()
                for address in self._wanted - running.keys():
                    running[address] = group.create_task(self._follow(address))
                metrics.FINDINGS_REPLICAS.set(len(running))
                await self._changed.wait()
                self._changed.clear()

    async def _follow(self, address: str) -> None:
        attempt = 0
        while True:
            reason = "closed"
            try:
                async with self._connect(address) as channel:
                    async for said in FindingsStub(channel).Watch(WatchRequest()):
                        attempt = 0
                        self._said[address] = said
                        self._moved()
            except grpc.aio.AioRpcError as error:
                reason = error.code().name
            delay = BACKOFF.delay(attempt, chance())
            attempt += 1
            extra = {"replica": address, "reason": reason, "retry_seconds": round(delay, 2)}
            logger.info("findings ended", extra=extra)
            await self._clock.sleep(delay)
