"""`seinectl wait`: return when the last proxy has acknowledged a resource, or when one refuses it.

In a cluster the resource's own conditions say it, at its latest generation. In a local mesh, whose
files have no status, the receipts of its latest change do; a resource that has not changed since
the start is in effect where proxies have acknowledged all that they were sent.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from libs.api.registry import KINDS, Kind
from libs.kube import access
from libs.kube.client import Client
from libs.kube.collection import of_kind
from libs.kube.errors import KubeError
from libs.kube.follow import Change, Follower
from libs.model.ids import Ref, ref
from libs.runtime.localmesh import LocalMesh
from libs.runtime.tasks import background
from services.ctl import output
from services.ctl.where import Cluster, Where, find

_GROUPS = ".istio.io"


class Target(Struct, frozen=True):
    """The resource that is waited for."""

    kind: Kind
    namespace: str
    name: str

    @property
    def ref(self) -> Ref:
        """Its reference."""
        return ref(self.kind.name, self.namespace, self.name)


class Verdict(Struct, frozen=True):
    """How it ended."""

    done: bool
    text: str


def run(written: str, namespace: str, *, where: Where, seconds: float) -> int:
    """Wait, and print how it ended; return 0 once all proxies have acknowledged."""
    target = parse(written, namespace)
    found = find(where)
    told = _local(found, target) if isinstance(found, LocalMesh) else _cluster(found, target)
    verdict = asyncio.run(_in_time(told, seconds))
    sign = "[green]✓[/]" if verdict.done else "[red]✗[/]"
    output.say(f"{sign} {output.clean(target.ref)}: {output.clean(verdict.text)}")
    return output.OK if verdict.done else output.FAILED


def parse(written: str, namespace: str) -> Target:
    """Return what KIND/NAME or KIND/NAMESPACE/NAME means; kinds as kubectl takes them."""
    word, _, rest = written.partition("/")
    space, _, name = rest.rpartition("/")
    known = {alias: kind for kind in KINDS for alias in _aliases(kind)}
    kind = known.get(word.lower())
    if kind is None or not name:
        kinds = sorted(it.name for it in KINDS if it.group.endswith(_GROUPS) and it.struct)
        output.fail(f"{written!r} is not KIND/NAME", hint=f"Kinds: {' '.join(kinds)}")
    return Target(kind, space or namespace, name)


def _aliases(kind: Kind) -> Sequence[str]:
    if not kind.group.endswith(_GROUPS) or kind.struct is None:
        return ()
    long = (kind.name.lower(), kind.plural)
    return (*long, *(f"{it}.{kind.group}" for it in long), *kind.short_names)


class Latest:
    """What is known so far, for the last words if time runs out."""

    text = "nothing is known of it"


Told = Callable[[Latest], Awaitable[Verdict]]


async def _in_time(told: Told, seconds: float) -> Verdict:
    latest = Latest()
    try:
        async with asyncio.timeout(seconds):
            return await told(latest)
    except TimeoutError:
        return Verdict(done=False, text=f"not after {seconds:g} s: {latest.text}")


# In a cluster.


class _Condition(Struct, frozen=True, rename="camel"):
    type: str = ""
    status: str = ""
    message: str = ""
    observed_generation: int | str = 0


class _Metadata(Struct, frozen=True):
    generation: int = 0


class _Status(Struct, frozen=True):
    conditions: tuple[_Condition, ...] = ()


class _Object(Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    status: _Status = _Status()


def judged(raw: bytes, latest: Latest) -> Verdict | None:
    """Return how a resource's conditions say that it ended; None if it has not."""
    found = msgspec.json.decode(raw, type=_Object)
    generation = found.metadata.generation
    now = {it.type: it for it in found.status.conditions if it.observed_generation == generation}
    accepted, programmed = now.get("Accepted"), now.get("Programmed")
    if accepted is not None and accepted.status == "False":
        return Verdict(done=False, text=f"not accepted: {accepted.message}")
    if programmed is None:
        latest.text = f"generation {generation} has no status yet"
        return None
    latest.text = programmed.message
    if programmed.status == "Unknown":
        return None
    return Verdict(done=programmed.status == "True", text=programmed.message)


def _cluster(cluster: Cluster, target: Target) -> Told:
    async def told(latest: Latest) -> Verdict:
        try:
            async with Client(access.load(cluster.kubeconfig, cluster.context)) as client:
                await client.get(_path(target))  # says what is wrong with it, or with the cluster
                async with _changes(client, target) as changes:
                    while True:
                        change = await changes.get()
                        if change.raw is None:
                            return Verdict(done=False, text="it was deleted")
                        verdict = judged(bytes(change.raw), latest)
                        if verdict is not None:
                            return verdict
        except KubeError as error:
            output.fail(str(error), hint=f"kubeconfig: {cluster.kubeconfig}")

    return told


def _path(target: Target) -> str:
    kind = target.kind
    folder = f"/apis/{kind.api_versions[0]}/namespaces/{target.namespace}"
    return f"{folder}/{kind.plural}/{target.name}"


@asynccontextmanager
async def _changes(client: Client, target: Target) -> AsyncIterator[asyncio.Queue[Change]]:
    """Yield a queue of the states of one object; a reader who is slow holds up the follower."""
    queue: asyncio.Queue[Change] = asyncio.Queue(maxsize=16)

    async def take(changes: Sequence[Change]) -> None:
        for change in changes:
            await queue.put(change)

    selector = f"metadata.name={target.name}"
    collection = of_kind(target.kind, namespace=target.namespace, field_selector=selector)
    async with background(Follower(client, collection, take).run()):
        yield queue


# In a local mesh.


def _local(local: LocalMesh, target: Target) -> Told:
    from libs.protos.receipts.v1.receipts_pb2 import (  # noqa: PLC0415 - clusters need no gRPC
        GetStandingRequest,
        ListRequest,
        WatchRequest,
    )
    from libs.protos.receipts.v1.receipts_pb2_grpc import ReceiptsStub  # noqa: PLC0415
    from services.ctl import channel  # noqa: PLC0415

    async def told(latest: Latest) -> Verdict:
        async with channel.connect(local, "config-push") as opened:
            stub = ReceiptsStub(opened)
            known = (await stub.List(ListRequest(ref=target.ref))).receipts
            if not known:
                stands = await stub.GetStanding(GetStandingRequest())
                if stands.connected == stands.synced:
                    text = "unchanged since the start, which all proxies have acknowledged"
                    return Verdict(done=True, text=text)
            newest = max((it.change for it in known), default=0)
            async for receipt in stub.Watch(WatchRequest(ref=target.ref)):
                answered = receipt.acknowledged + receipt.rejected
                latest.text = f"{answered} of {receipt.sent} proxies have answered"
                if receipt.settled and receipt.change >= newest:
                    return _settled(receipt)
        return Verdict(done=False, text="config-push ended the stream")

    return told


def _settled(receipt: Any) -> Verdict:  # noqa: ANN401  # a Receipt; its module is loaded late
    if receipt.rejected:
        words = "; ".join(f"{it.proxy}: {it.text}" for it in receipt.rejections)
        text = f"{receipt.rejected} of {receipt.sent} proxies refuse it: {words}"
        return Verdict(done=False, text=text)
    took = f"in {receipt.milliseconds:.0f} ms"
    text = f"{receipt.acknowledged} of {receipt.sent} proxies acknowledged {took}"
    return Verdict(done=True, text=text if receipt.sent else "no connected proxy is concerned")
