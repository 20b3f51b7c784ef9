"""Findings: what config-push sees become of patches, and of listeners that two want, as problems.

Every replica of discovery follows every config-push that runs, because whoever asks for problems
may ask any of them, and its leader writes them into statuses. A patch matches nothing only if it
does so at all proxies of all replicas. Numbers of proxies are rough, so that a text, and with it a
status, does not change whenever a proxy comes.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import grpc.aio

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.protos.findings.v1.findings_pb2 import Finding, Patch, PatchList, WatchRequest
from libs.protos.findings.v1.findings_pb2_grpc import FindingsStub
from libs.runtime.clock import Clock
from libs.xds import outcomes
from libs.xds.types import Conflict
from services.discovery import metrics
from services.discovery.replicas import Connect, Replicas

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
    """Knows what replicas found; `run` follows them."""

    hears = "findings"

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        *,
        places: Callable[[Mesh], frozenset[str]],
        moved: Callable[[], None],
    ) -> None:
        """Take where replicas are, and what is called whenever `about` may say something else."""
        self._replicas = Replicas(connect, self, clock, counted=metrics.FINDINGS_REPLICAS.set)
        self._places = places
        self._moved = moved
        self._said: dict[str, PatchList] = {}
        self.run = self._replicas.run

    def about(self, mesh: Mesh) -> list[Problem]:
        """Return the problems of what `mesh` has; follow its replicas from now on."""
        self._replicas.want(self._places(mesh))
        said = self._said.values()
        found = problems(said, {row.ref for row in mesh.patches.values()})
        return found + lost(said, _listening(mesh)) if any(it.conflicts for it in said) else found

    def open(self, replica: str) -> None:
        """Nothing is known of a replica until it speaks."""

    def close(self, replica: str) -> None:
        """Forget what a replica found."""
        if self._said.pop(replica, None) is not None:
            self._moved()

    async def listen(
        self, replica: str, channel: grpc.aio.Channel, heard: Callable[[], None]
    ) -> None:
        """Follow the findings of one replica."""
        async for said in FindingsStub(channel).Watch(WatchRequest()):
            heard()
            self._said[replica] = said
            self._moved()
