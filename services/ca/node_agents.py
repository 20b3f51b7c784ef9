"""Node agents: who may ask for certificates of the pods on its node, such as a node's shared proxy.

Istio's ztunnel asks with its own token and names another identity. That is granted only if its
account is one of the trusted ones, its pod is the one that the token is bound to and stands on a
node, and a pod of the wanted account runs on that very node. The pods are followed only if there
are trusted accounts; until all are known the answer is "later", never yes.
"""

import asyncio
from collections import Counter
from collections.abc import Collection as Many
from collections.abc import Sequence
from typing import NoReturn

import msgspec
from msgspec import Struct

from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.follow import Change, Follower
from libs.kube.list import Name
from libs.model.ids import SpiffeId, parse_spiffe_id
from libs.runtime.clock import Clock
from services.ca import metrics
from services.ca.caller import Caller
from services.ca.errors import NotAllowedError, UnsyncedError

_PODS = Collection(name="pods", paths=("/api/v1/pods",))
_ENDED = frozenset({"Succeeded", "Failed"})
_Account = tuple[str, str]  # namespace, service account


class _Metadata(Struct):
    uid: str = ""


class _Spec(Struct, rename="camel"):
    node_name: str = ""
    service_account_name: str = "default"


class _Status(Struct, frozen=True):
    phase: str = ""


class _Pod(Struct):
    metadata: _Metadata
    spec: _Spec
    status: _Status = _Status()


class Place(Struct, frozen=True, gc=False):
    """Where a pod runs, as whom."""

    uid: str
    node: str
    account: str


_DECODE = msgspec.json.Decoder(_Pod)


class PodIndex:
    """The pods of the cluster: by name, and how many of each account run on each node."""

    def __init__(self) -> None:
        self._pods: dict[Name, Place] = {}
        self._running: Counter[tuple[str, _Account]] = Counter()

    async def take(self, changes: Sequence[Change]) -> None:
        """Take in what happened to pods."""
        for change in changes:
            self._drop(change.name)
            if change.raw is not None:
                self._add(change.name, _DECODE.decode(change.raw))

    def get(self, namespace: str, name: str) -> Place | None:
        """Return where a pod runs; None if there is none, or it does not run."""
        return self._pods.get(Name(namespace, name))

    def runs(self, node: str, account: _Account) -> bool:
        """Tell whether a pod of `account` runs on `node`."""
        return self._running[node, account] > 0

    def _add(self, name: Name, pod: _Pod) -> None:
        if not pod.spec.node_name or pod.status.phase in _ENDED:
            return
        place = Place(pod.metadata.uid, pod.spec.node_name, pod.spec.service_account_name)
        self._pods[name] = place
        self._running[place.node, (name.namespace, place.account)] += 1

    def _drop(self, name: Name) -> None:
        place = self._pods.pop(name, None)
        if place is None:
            return
        key = place.node, (name.namespace, place.account)
        self._running[key] -= 1
        if not self._running[key]:
            del self._running[key]


class NodeAgents:
    """Decides what node agents get; `run` follows the pods."""

    def __init__(
        self, client: Client, trusted: Many[str], *, trust_domain: str, clock: Clock
    ) -> None:
        """Take `trusted`: accounts as `<namespace>/<service account>`."""
        self._trusted = frozenset(trusted)
        self._trust_domain = trust_domain
        self._index = PodIndex()
        self._follower = Follower(client, _PODS, self._index.take, clock=clock)

    async def run(self) -> None:
        """Follow the pods until cancelled; return at once if nobody is trusted."""
        if self._trusted:
            await self._follower.run()

    @property
    def synced(self) -> asyncio.Event:
        """Set once all pods are known."""
        return self._follower.synced

    async def impersonate(self, caller: Caller, wanted: str) -> SpiffeId:
        """Return the identity that `caller` asks for, if it may have it.

        Raises:
            NotAllowedError: it may not.
            UnsyncedError: that cannot be known yet.

        """
        try:
            identity = self._decide(caller, wanted)
        except (NotAllowedError, UnsyncedError) as error:
            late = isinstance(error, UnsyncedError)
            metrics.IMPERSONATIONS.labels(result="unsynced" if late else "refused").inc()
            raise
        metrics.IMPERSONATIONS.labels(result="granted").inc()
        return identity

    def _decide(self, caller: Caller, wanted: str) -> SpiffeId:
        own = caller.identity
        if f"{own.namespace}/{own.service_account}" not in self._trusted:
            _refuse("the caller's account is not trusted with other identities")
        if not caller.pod_uid:
            _refuse("the caller did not prove which pod it is")
        try:
            identity = parse_spiffe_id(wanted)
        except ValueError:
            _refuse("what is asked for is no identity")
        if identity.trust_domain != self._trust_domain:
            _refuse("what is asked for is of another trust domain")
        node = self._node(caller)
        if not self._index.runs(node, (identity.namespace, identity.service_account)):
            _refuse("no pod of the wanted account runs on the caller's node")
        return identity

    def _node(self, caller: Caller) -> str:
        if not self._follower.synced.is_set():
            raise UnsyncedError("not all pods are known yet")
        place = self._index.get(caller.identity.namespace, caller.pod)
        if place is None:
            raise UnsyncedError("the caller's pod is not known yet")
        if place.uid != caller.pod_uid or place.account != caller.identity.service_account:
            _refuse("the caller's pod is not the one that its token is bound to")
        if caller.node and caller.node != place.node:
            _refuse("the caller's pod is on another node than its token says")
        return place.node


def _refuse(reason: str) -> NoReturn:
    raise NotAllowedError(reason)
