import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import aiohttp
import grpc
import pytest

from libs.model import wire
from libs.model.ids import SpiffeId
from libs.pki import bundle, csr, jwk, keys, tokens
from libs.protos.feed.v1 import feed_pb2, feed_pb2_grpc
from libs.rpc import ca_client, channel
from libs.rpc.svid import Functions, Svid
from libs.runtime.tasks import background
from services.ca import app as ca_app
from services.ca.settings import Settings as CaSettings
from services.discovery import app
from services.discovery.settings import Settings

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
"""
ROUTES = """
{"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
 "metadata": {"name": "web", "namespace": "shop"},
 "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "%s"}}]}]}}
"""
SYSTEM = "istio-system"
SUBSCRIBE = feed_pb2.SubscribeRequest(subscriber="test", schema=wire.SCHEMA)


class Running(NamedTuple):
    """A discovery with its CA."""

    folder: Path
    key: keys.PrivateKey
    ca_port: int
    bound: app.Bound

    @asynccontextmanager
    async def stub(
        self, account: str, namespace: str = SYSTEM
    ) -> AsyncIterator[feed_pb2_grpc.MeshFeedStub]:
        """Connect with a certificate of an account."""
        token = write_token(self.folder, self.key, account, namespace)
        ca = ca_client.CaAddress(
            f"127.0.0.1:{self.ca_port}", self.folder / "root.pem", token, f"seine-ca.{SYSTEM}.svc"
        )
        svid = Svid(Functions(csr.make_with_key, bundle.validity, partial(ca_client.sign, ca)))
        async with background(svid.run()):
            await svid.ready()
            async with channel.connect(
                f"127.0.0.1:{self.bound.feed}",
                credentials=svid.channel_credentials(),
                server_name=f"seine-discovery.{SYSTEM}.svc",
            ) as connected:
                yield feed_pb2_grpc.MeshFeedStub(connected)


def write_token(folder: Path, key: keys.PrivateKey, account: str, namespace: str = SYSTEM) -> Path:
    now = time.clock_gettime(time.CLOCK_REALTIME)
    identity = SpiffeId("cluster.local", namespace, account)
    path = folder / f"{account}.token"
    path.write_text(tokens.mint(identity, pod=tokens.Bound("pod", "uid"), key=key, now=now))
    return path


@pytest.fixture(name="running")
async def discovery(tmp_path: Path) -> AsyncIterator[Running]:
    key = keys.generate()
    (tmp_path / "tokens.json").write_bytes(jwk.document(key.public_key()))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "web.yaml").write_text(SERVICE)
    ca_settings = CaSettings(
        port=0,
        mtls_port=0,
        monitoring_port=0,
        ca_dir=tmp_path / "ca",
        root_file=tmp_path / "root.pem",
        token_keys_file=tmp_path / "tokens.json",
    )
    async with ca_app.running(ca_settings) as ca:
        settings = Settings(
            port=0,
            monitoring_port=0,
            config_dir=tmp_path / "config",
            ca_address=f"127.0.0.1:{ca.token}",
            ca_root_file=tmp_path / "root.pem",
            token_file=write_token(tmp_path, key, "seine-discovery"),
        )
        async with app.running(settings) as bound:
            yield Running(tmp_path, key, ca.token, bound)


async def test_config_push_gets_the_mesh_and_what_is_saved_after(running: Running) -> None:
    async with running.stub("seine-config-push") as stub:
        updates = stub.Subscribe(SUBSCRIBE)
        snapshot = await updates.read()
        assert snapshot.snapshot
        assert "shop/web.shop.svc.cluster.local" in [row.key for row in snapshot.rows]
        (running.folder / "config" / "db.yaml").write_text(SERVICE.replace("web", "db"))
        change = await updates.read()
        assert list(change.causes) == ["Service/shop/db"]
        updates.cancel()


async def test_problems_are_streamed_with_their_place(running: Running) -> None:
    async with running.stub("seine-ctl") as stub:
        lists = stub.WatchProblems(feed_pb2.WatchProblemsRequest())
        assert not (await lists.read()).problems
        bad = running.folder / "config" / "bad.yaml"
        bad.write_text(SERVICE.replace("port: 80", "port: eighty").replace("web", "bad"))
        (problem,) = (await lists.read()).problems
        assert (problem.ref, problem.file, problem.line) == ("Service/shop/bad", str(bad), 5)
        lists.cancel()


async def test_the_whole_mesh_is_analysed_on_request(running: Running) -> None:
    unclear = running.folder / "config" / "unclear.yaml"
    async with running.stub("seine-ctl") as stub:
        assert not (await stub.Analyze(feed_pb2.AnalyzeRequest())).problems
        updates = stub.Subscribe(SUBSCRIBE)
        await updates.read()
        unclear.write_text(SERVICE.replace("http", "web").replace("name: web,", "name: unclear,"))
        await updates.read()
        (found,) = (await stub.Analyze(feed_pb2.AnalyzeRequest())).problems
        assert (found.ref, found.reason) == ("Service/shop/unclear", "UnclearProtocol")
        assert (found.file, found.line) == (str(unclear), 5)
        updates.cancel()


async def test_a_dry_run_says_what_a_resource_would_make_wrong_and_applies_nothing(
    running: Running,
) -> None:
    async with running.stub("seine-webhook") as stub:

        async def tried(host: str) -> list[tuple[str, str]]:
            answer = await stub.DryRun(feed_pb2.DryRunRequest(resource=(ROUTES % host).encode()))
            return [(problem.path, problem.reason) for problem in answer.problems]

        assert await tried("web") == []
        assert await tried("gone") == [("spec.http[0].route[0].destination.host", "HostNotFound")]
        assert await tried("a b") == [("spec.http[0].route[0].destination.host", "InvalidHost")]
        broken = await stub.DryRun(feed_pb2.DryRunRequest(resource=b"{"))
        assert [problem.reason for problem in broken.problems] == ["NotAnObject"]
    async with running.stub("seine-ctl") as stub:
        lists = stub.WatchProblems(feed_pb2.WatchProblemsRequest())
        assert not (await lists.read()).problems
        lists.cancel()


@pytest.mark.parametrize(
    ("account", "namespace"), [("seine-ca", SYSTEM), ("seine-config-push", "shop"), ("web", "shop")]
)
async def test_nobody_else_may_see_the_mesh(running: Running, account: str, namespace: str) -> None:
    async with running.stub(account, namespace) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(stub.Subscribe(SUBSCRIBE)))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(stub.WatchProblems(feed_pb2.WatchProblemsRequest())))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Analyze(feed_pb2.AnalyzeRequest())
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.DryRun(feed_pb2.DryRunRequest(resource=b"{}"))
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_another_schema_is_refused(running: Running) -> None:
    async with running.stub("seine-config-push") as stub:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(stub.Subscribe(feed_pb2.SubscribeRequest(schema=wire.SCHEMA + 1))))
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_the_monitoring_port(running: Running) -> None:
    bad = running.folder / "config" / "bad.yaml"
    base = f"http://127.0.0.1:{running.bound.monitoring}"
    async with running.stub("seine-ctl") as stub, aiohttp.ClientSession(base) as session:
        lists = stub.WatchProblems(feed_pb2.WatchProblemsRequest())
        await lists.read()
        bad.write_text("kind: [")
        await lists.read()
        async with session.get("/ready") as response:
            assert response.status == 200
        async with session.get("/metrics") as response:
            metrics = await response.text()
        assert "\npilot_services 1.0" in metrics
        assert "\npilot_total_rejected_configs 1.0" in metrics
        assert 'pilot_k8s_cfg_events_total{event="upsert",type="Service"}' in metrics
        async with session.get("/debug/registryz") as response:
            (entry,) = await response.json()
        assert entry["service"]["host"] == "web.shop.svc.cluster.local"
        async with session.get("/debug/problems") as response:
            (problem,) = await response.json()
        assert problem["file"] == str(bad)
        lists.cancel()
