"""Both sides of a call as two real Envoys count it, and who can pass for whom."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from libs.model.security import MtlsMode
from libs.model.service import Protocol
from tests.support import traffic
from tests.support.certificates import TestAuthority, client_context
from tests.support.pair import Pair, counted, pair_of
from tests.support.workload import Workload

pytestmark = pytest.mark.asyncio(loop_scope="module")

HTTP = ("istio-http/1.1", "istio", "http/1.1")
TCP = ("istio-peer-exchange", "istio")
WORKLOAD = Workload(
    ports={"http": Protocol.HTTP, "grpc": Protocol.GRPC, "tcp": Protocol.TCP},
    mode=MtlsMode.PERMISSIVE,
)
HEADERS = {
    "x-seine-peer-workload": "admin",
    "x-seine-peer-workload-namespace": "shop",
    "x-seine-peer-app": "admin",
    "x-seine-peer-part": "/ns/shop/sa/",
}


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    async with pair_of(authority, WORKLOAD, tmp_path_factory.mktemp("pair")) as running:
        yield running


BOTH = {
    "source_workload": "client-d",
    "source_workload_namespace": "shop",
    "source_principal": "spiffe://cluster.local/ns/shop/sa/client",
    "source_app": "web",
    "source_version": "v7",
    "source_canonical_service": "web-canon",
    "source_canonical_revision": "v7",
    "source_cluster": "Kubernetes",
    "destination_workload": "server",
    "destination_workload_namespace": "shop",
    "destination_principal": "spiffe://cluster.local/ns/shop/sa/server",
    "destination_app": "server",
    "destination_canonical_service": "server",
    "destination_cluster": "Kubernetes",
    "destination_service": "server.shop.svc.cluster.local",
    "destination_service_name": "server",
    "destination_service_namespace": "shop",
    "request_protocol": "http",
    "response_code": "200",
    "grpc_response_status": "",
    "response_flags": "-",
}


async def test_both_reporters_name_both_sides(pair: Pair) -> None:
    answer = await pair.ask(**HEADERS)
    assert answer.status == 200
    assert "x-seine-peer" not in answer.body, "the application sees nothing of it"
    [(source, _)] = await counted(pair.client, response_code="200", request_protocol="http")
    assert source == {
        **BOTH,
        "reporter": "source",
        "connection_security_policy": "unknown",
        "destination_version": "v3",
        "destination_canonical_revision": "v3",
    }
    [(destination, _)] = await counted(pair.server.envoy, connection_security_policy="mutual_tls")
    assert destination == {
        **BOTH,
        "reporter": "destination",
        "connection_security_policy": "mutual_tls",
        "destination_version": "unknown",  # the server of this test has no such label
        "destination_canonical_revision": "latest",
    }


async def test_a_caller_in_plaintext_is_nobody(pair: Pair) -> None:
    answer = await traffic.http(pair.server.port("http"), headers=HEADERS)
    assert answer.status == 200
    assert "x-seine-peer" not in answer.body
    [(labels, _)] = await counted(pair.server.envoy, connection_security_policy="none")
    assert {labels[f"source_{name}"] for name in ("workload", "workload_namespace", "app")} == {
        "unknown"
    }


@pytest.mark.parametrize(
    ("namespace", "part", "claimed", "believed"),
    [
        ("shop", "/ns/shop/sa/", "shop", True),
        ("bank", "/ns/shop/sa/", "shop", False),
        ("mall", "/ns/mall/sa/", "shop", False),
        ("shopping", "/ns/shopping/sa/", "shop", False),
        ("shopper", "/ns/shop", "shop", False),
        ("seller", "/", "", False),
        ("ab", "/ns/ab/sa/", "ns", False),
        ("cd", "/ns/cd/sa/", "/n", False),
    ],
)
async def test_a_caller_passes_for_nobody_of_another_namespace(
    pair: Pair,
    authority: TestAuthority,
    tmp_path: Path,
    namespace: str,
    part: str,
    claimed: str,
    believed: bool,
) -> None:
    tls = client_context(authority.issue("thief", namespace), tmp_path, HTTP)
    headers = {**HEADERS, "x-seine-peer-part": part, "x-seine-peer-workload-namespace": claimed}
    answer = await traffic.http(pair.server.port("http"), tls=tls, headers=headers)
    assert answer.status == 200
    assert "x-seine-peer" not in answer.body
    principal = f"spiffe://cluster.local/ns/{namespace}/sa/thief"
    [(labels, _)] = await counted(pair.server.envoy, source_principal=principal)
    seen = {labels[f"source_{name}"] for name in ("workload", "app")}
    assert seen == {"admin" if believed else "unknown"}
    assert labels["source_workload_namespace"] == namespace, "the certificate says so"


async def test_connections_name_the_server_by_its_endpoint(pair: Pair) -> None:
    assert (await traffic.exchange(pair.address("tcp"), b"\x00hello")).status == 1
    name = "istio_tcp_connections_opened_total"
    [(source, _)] = await counted(pair.client, name)
    assert source["destination_workload"] == source["destination_app"] == "server"
    assert source["source_workload"] == "client-d"
    [(destination, _)] = await counted(pair.server.envoy, name)
    assert destination["source_principal"] == BOTH["source_principal"]
    assert destination["source_workload_namespace"] == BOTH["source_workload_namespace"]
    assert destination["source_workload"] == "unknown"


@pytest.mark.parametrize(
    ("account", "namespace", "known"),
    [
        ("thief", "bank", "bank"),
        ("", "", "unknown"),  # without a certificate
    ],
)
async def test_connections_have_the_namespace_of_the_certificate(
    pair: Pair, authority: TestAuthority, tmp_path: Path, account: str, namespace: str, known: str
) -> None:
    identity = authority.issue(account, namespace) if account else None
    tls = client_context(identity, tmp_path, TCP) if identity else None
    assert (await traffic.exchange(pair.server.port("tcp"), b"\x00hello", tls=tls)).status == 1
    principal = f"spiffe://cluster.local/ns/{namespace}/sa/{account}" if account else "unknown"
    for name in ("opened", "closed"):
        metric = f"istio_tcp_connections_{name}_total"
        [(labels, _)] = await counted(pair.server.envoy, metric, source_principal=principal)
        assert labels["source_workload_namespace"] == known
