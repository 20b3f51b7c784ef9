"""Ingresses: writes into `status.loadBalancer` where those that the mesh serves are entered.

`kubectl get ingress`, ExternalDNS and Argo CD read it. It is written by server-side apply, under a
name of our own, so the API server itself remembers which addresses are ours: they are taken back
once an Ingress is somebody else's, and what somebody else has written is left alone then. Ingresses
that carry no revision have their status from the default one, or two would fight.

Of each Ingress only what a status needs is kept. Writes are made in rounds (`rounds`), one at a
time, and where somebody else writes something else ever more seldom (`disputes`). Which addresses
those are is decided in `libs.translate.ingress_addresses`.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

import msgspec
from msgspec import Struct

from libs.api.ingress import Ingress
from libs.api.kubernetes import LoadBalancerIngress, LoadBalancerStatus
from libs.api.registry import Kind
from libs.kube.client import Client
from libs.kube.follow import Change
from libs.model import revisions
from libs.model.ids import Ref, ref
from libs.runtime.clock import Clock
from libs.translate.ingress_addresses import Addresses, addresses, ours
from libs.translate.state import State
from services.discovery.revisions import LABEL
from services.discovery.status import managers
from services.discovery.status.disputes import Disputes
from services.discovery.status.rounds import Rounds
from services.discovery.status.sending import APPLY, MANAGER, Sent, send

API = "networking.k8s.io/v1"


class _Known(Struct, frozen=True):
    """An Ingress as the API server has it.

    `owned`: its addresses are of our writing; `others`: who else has written some.
    """

    namespace: str
    name: str
    version: str
    revision: str
    current: Addresses
    owned: bool
    others: str


class IngressStatuses:
    """Knows what Ingresses say and should say; `run` writes while this process leads."""

    def __init__(
        self,
        client: Client,
        clock: Clock,
        check: Callable[[], None],
        *,
        revision: str = revisions.DEFAULT,
    ) -> None:
        """`check` raises if this process does not lead (any more)."""
        self._client = client
        self._check = check
        self._revision = revision
        self._manager = revisions.named(MANAGER, revision)
        self._known: dict[Ref, _Known] = {}
        self._ours: frozenset[Ref] = frozenset()
        self._addresses: Addresses = ()
        self._published = asyncio.Event()
        self._rounds = Rounds(clock)
        self._disputes = Disputes(clock, "addresses")

    def take(self, kind: Kind, changes: Sequence[Change]) -> None:
        """Take note of objects of a kind."""
        if kind.struct is not Ingress:
            return
        for change in changes:
            place = ref(kind.name, change.name.namespace, change.name.name)
            known = _read(change, self._manager) if change.raw is not None else None
            if known is None:
                self._known.pop(place, None)
                self._disputes.forget(place)
            else:
                self._known[place] = known
            self._rounds.note((place,))

    def publish(self, state: State) -> None:
        """Take the latest state."""
        now = ours(state.mesh)
        found = addresses(state) if now else ()
        self._rounds.note(self._known if found != self._addresses else now ^ self._ours)
        self._ours, self._addresses = now, found
        self._published.set()

    async def run(self) -> None:
        """Write until cancelled, everything first.

        Raises:
            LeaseLostError: this process does not lead any more.

        """
        await self._published.wait()  # before that nothing is known to be somebody else's
        self._rounds.note(self._known)
        await self._rounds.run(self._look)

    async def _look(self, moved: Collection[Ref]) -> list[Ref]:
        return [place for place in moved if not await self._is_settled(place)]

    async def _is_settled(self, place: Ref) -> bool:
        """Bring one Ingress up to date; False: try again."""
        known = self._known.get(place)
        if known is None:
            return True
        wanted = self._wanted(place, known)
        if known.owned == bool(wanted) and (not wanted or known.current == wanted):
            self._come_back(place, self._disputes.remaining(place))
            return True
        if wait := self._disputes.wait(place, wanted):
            self._come_back(place, wait)
            return True
        self._check()
        sent = await send(
            self._client,
            place,
            f"/apis/{API}/namespaces/{known.namespace}/ingresses/{known.name}/status",
            body=_body(known, wanted),
            content_type=APPLY,
            params={"fieldManager": self._manager, "force": "true"},
        )
        if sent is Sent.WRITTEN:
            self._disputes.note(place, wanted, known.others)
        return sent is not Sent.FAILED

    def _come_back(self, place: Ref, seconds: float) -> None:
        if seconds:
            self._rounds.note_later(place, seconds)

    def _wanted(self, place: Ref, known: _Known) -> Addresses:
        """Return what an Ingress should say of ours; nothing, if it is not ours to say."""
        by_default = not known.revision and revisions.is_default(self._revision)
        mine = by_default or known.revision == self._revision
        return self._addresses if mine and place in self._ours else ()


def _body(known: _Known, wanted: Addresses) -> dict[str, object]:
    """Return all that we say of an Ingress: what we do not say (any more), we give up."""
    entries = [{"ip": it.ip} if it.ip else {"hostname": it.hostname} for it in wanted]
    return {
        "apiVersion": API,
        "kind": Ingress.__name__,
        "metadata": {
            "name": known.name,
            "namespace": known.namespace,
            "resourceVersion": known.version,
        },
        "status": {"loadBalancer": {"ingress": entries}} if entries else {},
    }


class _Metadata(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    labels: dict[str, str] | None = None
    managed_fields: managers.Entries | None = None


class _Status(Struct, frozen=True, rename="camel"):
    load_balancer: LoadBalancerStatus = LoadBalancerStatus()


class _Object(Struct, frozen=True):
    metadata: _Metadata = _Metadata()
    status: _Status = _Status()


_DECODER = msgspec.json.Decoder(_Object)


def _read(change: Change, manager: str) -> _Known | None:
    """Return what is kept of an Ingress; None if it cannot be read."""
    try:
        found = _DECODER.decode(change.raw or b"")
    except (msgspec.MsgspecError, RecursionError):
        return None
    metadata = found.metadata
    writers = managers.writers(metadata.managed_fields, "f:ingress")
    return _Known(
        namespace=change.name.namespace,
        name=change.name.name,
        version=metadata.resource_version,
        revision=(metadata.labels or {}).get(LABEL, ""),
        current=tuple(
            LoadBalancerIngress(it.ip, it.hostname) for it in found.status.load_balancer.ingress
        ),
        owned=manager in writers,
        others=managers.others(writers, manager),
    )
