"""Conditions in a real API server: what people read with kubectl, and who may write it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from libs.api.problem import Problem
from libs.api.registry import KINDS
from libs.kube.client import Client
from libs.kube.collection import of_kind
from libs.kube.follow import Change, Follower
from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.ids import Ref, service_key
from libs.model.mesh import Key, Mesh, Table
from libs.protos.receipts.v1 import receipts_pb2_grpc
from libs.protos.receipts.v1.receipts_pb2 import (
    GetStandingRequest,
    ListRequest,
    Receipt,
    ReceiptList,
    RefStanding,
    Rejection,
    Standing,
    WatchRequest,
)
from libs.rpc import channel
from libs.runtime.clock import SystemClock
from libs.runtime.tasks import background
from services.ctl import wait
from services.ctl.where import Where
from services.discovery.status import receipts
from services.discovery.status.wiring import Statuses
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_discovery import define
from tests.support.kubeconfig import write_kubeconfig

Context = grpc.aio.ServicerContext[Any, Any]
ROUTES = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices"
REF = Ref("VirtualService/shop/routes")
KIND = next(it for it in KINDS if it.name == "VirtualService")
SYSTEM = "istio-system"
SECONDS = 30.0


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        await define(client, "virtualservices")
        for name in (SYSTEM, "shop"):
            await kube.namespace(client, name)
        yield client


class Replica(receipts_pb2_grpc.ReceiptsServicer):
    """A config-push that says what a test wants."""

    def __init__(self) -> None:
        self.receipts: asyncio.Queue[Receipt] = asyncio.Queue()
        self.standing = Standing()

    async def Watch(  # noqa: N802  # the protocol's name
        self, request: WatchRequest, context: Context
    ) -> AsyncIterator[Receipt]:
        while True:
            yield await self.receipts.get()

    async def List(self, request: ListRequest, context: Context) -> ReceiptList:  # noqa: N802
        return ReceiptList()

    async def GetStanding(  # noqa: N802  # the protocol's name
        self, request: GetStandingRequest, context: Context
    ) -> Standing:
        return self.standing

    def has(self, *, connected: int, concerned: int) -> None:
        """Let so many proxies be connected, all of them synced."""
        one = RefStanding(ref=REF, concerned=concerned, synced=concerned)
        self.standing = Standing(
            connected=connected,
            synced=connected,
            joined=self.standing.joined + connected,
            resources=[one] if concerned else [],
        )


@asynccontextmanager
async def _replica(folder: Path, address: str) -> AsyncIterator[Replica]:
    found = Replica()
    server = grpc.aio.server()
    receipts_pb2_grpc.add_ReceiptsServicer_to_server(found, server)
    server.add_insecure_port(f"unix:{folder}/{address}")
    await server.start()
    try:
        yield found
    finally:
        await server.stop(None)


def _mesh(*addresses: str) -> Mesh:
    """Return a mesh with a config-push at each address, `host:port`."""
    key = service_key(SYSTEM, f"seine-config-push.{SYSTEM}.svc.cluster.local")
    split = (address.split(":") for address in addresses)
    endpoints = tuple(
        Endpoint(address=host, port=int(port), port_name="grpc-mtls") for host, port in split
    )
    row = EndpointSet(key=key, endpoints=endpoints)
    return Mesh().evolve([(Key(Table.ENDPOINTS, key), row)])


class Discovery:
    """One replica of discovery, as far as statuses go, and what people read meanwhile."""

    def __init__(self, client: Client, folder: Path) -> None:
        connect = partial(_connected, folder)
        self.statuses = Statuses(client, SystemClock(), system_namespace=SYSTEM, connect=connect)
        self._changed = asyncio.Condition()
        self._conditions: dict[str, dict[str, Any]] = {}
        self.versions: list[str] = []
        self.follower = Follower(client, of_kind(KIND, namespace="shop"), self._take)

    async def _take(self, changes: Sequence[Change]) -> None:
        self.statuses.subjects.take(KIND, changes)
        subject = self.statuses.subjects.get(REF)
        async with self._changed:
            if subject is not None:
                self._conditions = {it["type"]: it for it in subject.conditions}
                self.versions.append(subject.version)
            self._changed.notify_all()

    async def says(self, kind: str, status: str, message: str = "") -> dict[str, Any]:
        def is_said() -> bool:
            found = self._conditions.get(kind, {})
            return found.get("status") == status and message in str(found.get("message"))

        return await self._once(kind, is_said)

    async def _once(self, kind: str, is_said: Callable[[], bool]) -> dict[str, Any]:
        try:
            async with asyncio.timeout(SECONDS), self._changed:
                await self._changed.wait_for(is_said)
        except TimeoutError as error:
            raise AssertionError(self._conditions) from error
        return self._conditions[kind]


@asynccontextmanager
async def _connected(folder: Path, address: str) -> AsyncIterator[grpc.aio.Channel]:
    async with channel.connect(f"unix:{folder}/{address}", credentials=None) as found:
        yield found


@asynccontextmanager
async def _discovery(client: Client, folder: Path) -> AsyncIterator[Discovery]:
    found = Discovery(client, folder)
    async with background(found.follower.run(), found.statuses.run()):
        await found.follower.synced.wait()
        yield found


@asynccontextmanager
async def _routes(client: Client) -> AsyncIterator[None]:
    spec = {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}}]}]}
    body = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "routes"},
        "spec": spec,
    }
    await client.request("POST", ROUTES, body=body)
    try:
        yield
    finally:
        await client.request("DELETE", f"{ROUTES}/routes")


async def test_a_status_follows_problems_receipts_and_refusals(
    client: Client, tmp_path: Path
) -> None:
    async with (
        _replica(tmp_path, "10.0.0.1:1") as one,
        _replica(tmp_path, "10.0.0.2:1") as two,
        _routes(client),
        _discovery(client, tmp_path) as discovery,
    ):
        missing = Problem(REF, "spec.http[0]", "HostNotFound", "there is no web")
        discovery.statuses.publish(_mesh("10.0.0.1:1", "10.0.0.2:1"), (missing,))
        found = await discovery.says("ResolvedRefs", "False", "spec.http[0]: there is no web")
        assert found["observedGeneration"] == 1
        await discovery.says("Accepted", "True")
        await discovery.says("Programmed", "Unknown")

        discovery.statuses.publish(_mesh("10.0.0.1:1", "10.0.0.2:1"), ())
        await discovery.says("ResolvedRefs", "True")
        said = Receipt(causes=[REF], generations=[1], acknowledged=2, settled=True)
        one.receipts.put_nowait(said)
        await discovery.says("Programmed", "Unknown", "2 of 2")  # the other has said nothing
        refusal = Rejection(proxy="web-1.shop", text="no such cluster", sources=[REF])
        said = Receipt(causes=[REF], generations=[1], rejected=1, rejections=[refusal])
        two.receipts.put_nowait(said)
        await discovery.says(
            "Programmed", "False", "1 of 3 proxies refuse it: web-1.shop: no such cluster"
        )
        said = Receipt(causes=[REF], generations=[1], acknowledged=1, settled=True)
        two.receipts.put_nowait(said)
        await discovery.says("Programmed", "True", "3 of 3 proxies acknowledged")

        whole = await client.get(f"{ROUTES}/routes")
        assert whole["metadata"]["generation"] == 1  # a status is no new generation
        assert whole["status"]["observedGeneration"] == 1
        assert len(discovery.versions) < 10


async def test_a_change_of_the_spec_is_pending_until_it_is_acknowledged(
    client: Client, tmp_path: Path
) -> None:
    async with (
        _replica(tmp_path, "10.0.0.1:1") as one,
        _routes(client),
        _discovery(client, tmp_path) as discovery,
    ):
        discovery.statuses.publish(_mesh("10.0.0.1:1"), ())
        one.receipts.put_nowait(
            Receipt(causes=[REF], generations=[1], acknowledged=1, settled=True)
        )
        await discovery.says("Programmed", "True")
        patch = {"spec": {"hosts": ["web", "db"]}}
        path, kind = f"{ROUTES}/routes", "application/merge-patch+json"
        await client.request("PATCH", path, body=patch, content_type=kind)
        found = await discovery.says("Programmed", "Unknown")
        assert found["observedGeneration"] == 2
        one.receipts.put_nowait(
            Receipt(causes=[REF], generations=[2], acknowledged=1, settled=True)
        )
        assert (await discovery.says("Programmed", "True"))["observedGeneration"] == 2


async def test_a_wait_ends_when_the_last_proxy_has_acknowledged(
    client: Client, server: ApiServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = str(write_kubeconfig(server, tmp_path / "kubeconfig-of-a-person"))
    where = Where(kubeconfig=config, in_cluster=True)

    async def waited(seconds: float) -> int:
        return await asyncio.to_thread(wait.run, "vs/routes", "shop", where=where, seconds=seconds)

    async with (
        _replica(tmp_path, "10.0.0.1:1") as one,
        _routes(client),
        _discovery(client, tmp_path) as discovery,
        asyncio.TaskGroup() as group,
    ):
        discovery.statuses.publish(_mesh("10.0.0.1:1"), ())
        assert await waited(1.0) == 1
        assert "not after 1 s" in capsys.readouterr().out
        waiting = group.create_task(waited(SECONDS))
        said = Receipt(causes=[REF], generations=[1], acknowledged=2, settled=True)
        one.receipts.put_nowait(said)
        assert await waiting == 0
        assert "2 of 2 proxies acknowledged" in capsys.readouterr().out
        refusal = Rejection(proxy="web-1.shop", text="no such cluster")
        said = Receipt(causes=[REF], generations=[1], rejected=1, rejections=[refusal])
        one.receipts.put_nowait(said)
        await discovery.says("Programmed", "False")
        assert await waited(SECONDS) == 1
        assert "web-1.shop: no such cluster" in capsys.readouterr().out


async def test_what_a_replica_got_when_it_started_counts_when_its_proxies_are_synced(
    client: Client, tmp_path: Path
) -> None:
    async with (
        _replica(tmp_path, "10.0.0.1:1") as one,
        _routes(client),
        _discovery(client, tmp_path) as discovery,
    ):
        later = SystemClock().now() + 1.0
        one.standing = Standing(connected=2, synced=1, taken_over=later)
        discovery.statuses.publish(_mesh("10.0.0.1:1"), ())
        await discovery.says("Programmed", "Unknown", "1 of 2")
        one.standing = Standing(connected=2, synced=2, taken_over=later)
        await discovery.says("Programmed", "True", "2 of 2")


async def test_proxies_that_connect_after_a_resource_was_applied_are_counted(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "LOOK_SECONDS", 0.1)
    async with (
        _replica(tmp_path, "10.0.0.1:1") as one,
        _routes(client),
        _discovery(client, tmp_path) as discovery,
    ):
        discovery.statuses.publish(_mesh("10.0.0.1:1"), ())
        one.receipts.put_nowait(Receipt(causes=[REF], generations=[1], settled=True))
        await discovery.says("Programmed", "True", "concerns no proxy that is connected")
        one.has(connected=5, concerned=2)
        await discovery.says("Programmed", "True", "2 of 2 proxies acknowledged")
        one.has(connected=10, concerned=5)
        await discovery.says("Programmed", "True", "5 of 5 proxies acknowledged")
        refusal = Rejection(proxy="web-9.shop", text="no such cluster", sources=[REF])
        refusing = RefStanding(ref=REF, concerned=6, synced=5, rejecting=1, rejections=[refusal])
        one.standing = Standing(
            connected=11, synced=10, rejecting=1, joined=16, resources=[refusing]
        )
        await discovery.says("Programmed", "False", "web-9.shop: no such cluster")


async def test_only_the_leader_writes_and_the_next_one_goes_on(
    client: Client, tmp_path: Path
) -> None:
    async with _replica(tmp_path, "10.0.0.1:1") as one, _routes(client):
        async with _discovery(client, tmp_path) as first:
            first.statuses.publish(_mesh("10.0.0.1:1"), ())
            await first.says("Accepted", "True")
            async with _discovery(client, tmp_path) as second:
                wrong = Problem(REF, "spec", "InvalidHost", "is wrong")
                second.statuses.publish(_mesh("10.0.0.1:1"), (wrong,))
                said = Receipt(causes=[REF], generations=[1], acknowledged=1, settled=True)
                one.receipts.put_nowait(said)
                await second.says("Programmed", "True")  # the first one wrote that, and
                await second.says("Accepted", "True")  # knows of nothing wrong
        async with _discovery(client, tmp_path) as third:
            third.statuses.publish(_mesh("10.0.0.1:1"), (wrong,))
            await third.says("Accepted", "False", "spec: is wrong")
            await third.says("Programmed", "True")  # nobody has said anything else
