"""LocalPlane: the control plane of a mesh on this machine, asked by HTTP and gRPC."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from libs.protos.feed.v1.feed_pb2 import AnalyzeRequest, Problem, WatchProblemsRequest
from libs.protos.feed.v1.feed_pb2_grpc import MeshFeedStub
from libs.protos.receipts.v1.receipts_pb2 import ListRequest, Receipt, WatchRequest
from libs.protos.receipts.v1.receipts_pb2_grpc import ReceiptsStub
from libs.runtime.localmesh import LocalMesh
from services.ctl import channel, inside, mesh
from services.ctl.plane import Json

NONE: Mapping[str, str] = {}
MAX_SHOWN = 10_000
"""Changes that are remembered; far more than config-push holds receipts of."""


class LocalPlane:
    """See `plane.Plane`; a process that does not answer ends the command."""

    def __init__(self, local: LocalMesh, namespace: str = "") -> None:
        self.local = local
        self._namespace = namespace

    @property
    def missing(self) -> Mapping[str, str]:
        """Nobody: there is one process of each service."""
        return NONE

    @property
    def expected(self) -> Sequence[str]:
        """The workloads that were started."""
        return list(self.local.workloads)

    def statuses(self) -> list[Json]:
        """Return rows of `syncz`."""
        found: list[Json] = json.loads(mesh.get_debug(self.local, "config-push", "/debug/syncz"))
        return found

    def full_name(self, name: str) -> str:
        """Return the full name of a workload."""
        return mesh.full_name(self.local.workloads, name, self._namespace)

    def dump(self, proxy: str) -> Json:
        """Return what a proxy was sent."""
        path = f"/debug/config_dump?proxyID={quote(proxy)}"
        found: Json = json.loads(mesh.get_debug(self.local, "config-push", path))
        return found

    def certificates(self, proxy: str) -> Json:
        """Return what Envoy's admin page says."""
        workload = mesh.workload(self.local, proxy)
        body = mesh.get(workload.admin, "/certs", namespace_pid=workload.namespace_pid)
        found: Json = json.loads(body)
        return found

    def receipts(self, ref: str) -> list[Receipt]:
        """Return the receipts that are held."""
        return asyncio.run(_receipts(self.local, ref))

    def watch(self, ref: str, show: Callable[[Receipt], None]) -> None:
        """Follow the receipts, from now on."""
        asyncio.run(_watch(self.local, ref, show))

    def problems(self) -> list[Problem]:
        """Return the problems of this moment."""
        return asyncio.run(_problems(self.local))

    def analyzed(self) -> list[Problem]:
        """Return the problems, and what analysis notices."""
        return asyncio.run(_analyzed(self.local))

    def execute(self, proxy: str, command: Sequence[str]) -> int:
        """Become the command."""
        inside.become(self.local, proxy, list(command))


async def _receipts(local: LocalMesh, ref: str) -> list[Receipt]:
    async with channel.connect(local, "config-push") as opened:
        return list((await ReceiptsStub(opened).List(ListRequest(ref=ref))).receipts)


async def _watch(local: LocalMesh, ref: str, show: Callable[[Receipt], None]) -> None:
    async with channel.connect(local, "config-push") as opened:
        stub = ReceiptsStub(opened)
        now = (await stub.List(ListRequest(ref=ref))).receipts
        shown = dict.fromkeys(one.change for one in now if one.settled)
        async for receipt in stub.Watch(WatchRequest(ref=ref)):
            if receipt.settled and receipt.change not in shown:
                shown[receipt.change] = None
                show(receipt)
                if len(shown) > MAX_SHOWN:
                    del shown[next(iter(shown))]


async def _problems(local: LocalMesh) -> list[Problem]:
    async with channel.connect(local, "discovery") as opened:
        stream = MeshFeedStub(opened).WatchProblems(WatchProblemsRequest())
        async for update in stream:
            return list(update.problems)
    return []


async def _analyzed(local: LocalMesh) -> list[Problem]:
    async with channel.connect(local, "discovery") as opened:
        noticed = await MeshFeedStub(opened).Analyze(AnalyzeRequest())
    return [*await _problems(local), *noticed.problems]
