"""Both sides of a call as two real Envoys count it, and who can pass for whom."""

import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import Struct

from libs.model.security import MtlsMode
from libs.model.service import Protocol
from libs.proxy.node import Interception
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import Snapshot
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority, client_context
from tests.support.envoy import Envoy, free_ports, running
from tests.support.workload import Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTBOUND = "127.67.9.1"
HTTP = ("istio-http/1.1", "istio", "http/1.1")
CLIENT_LABELS = {"app": "web", "version": "v7", "service.istio.io/canonical-name": "web-canon"}
SERVER_LABELS = {"app": "server", "version": "v3"}
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


class Pair(Struct, frozen=True):
    """A client's Envoy and a server's."""

    client: Envoy
    server: Server

    async def ask(self, name: str = "http", **headers: str) -> traffic.Answer:
        address = (OUTBOUND, self.server.port(name)[1])
        return await traffic.http(address, headers={"host": "server", **headers})


def _snapshot(server: Server) -> Snapshot:
    ports = {name: server.port(name)[1] for name in WORKLOAD.ports}
    service = rows.service(
        "server",
        *(rows.port(ports[name], protocol, name) for name, protocol in WORKLOAD.ports.items()),
    )
    behind = rows.endpoints(
        service,
        server.port("http")[0],
        service_account="server",
        labels=SERVER_LABELS,
        workload_name="server",
    )
    outside = rows.service(
        "outside", rows.port(free_ports(1)[0], name="out"), external=True, registry="External"
    )
    mesh = rows.mesh(
        service,
        behind,
        outside,
        rows.workload(
            "client", labels=CLIENT_LABELS, workload_name="client-d", service_account="client"
        ),
    )
    proxy = rows.proxy(
        interception=Interception.NONE, outbound_address=OUTBOUND, http_proxy_port=free_ports(1)[0]
    )
    return generate.snapshot(Scoper().scope(mesh, proxy))


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pair(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Pair]:
    certificate = authority.issue("client")
    async with (
        serving(authority, WORKLOAD, tmp_path_factory.mktemp("server")) as server,
        running(_snapshot(server), certificate, tmp_path_factory.mktemp("client")) as client,
    ):
        yield Pair(client, server)


async def series(
    envoy: Envoy, name: str = "istio_requests_total", **wanted: str
) -> list[tuple[Mapping[str, str], float]]:
    found = []
    for line in await envoy.prometheus():
        metric, _, rest = line.partition("{")
        if metric == f"envoy_{name}":
            tags, _, value = rest.rpartition("} ")
            labels = dict(re.findall(r'(\w+)="([^"]*)"', tags))
            if wanted.items() <= labels.items():
                found.append((labels, float(value)))
    return found


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
    [(source, _)] = await series(pair.client, response_code="200", request_protocol="http")
    assert source == {
        **BOTH,
        "reporter": "source",
        "connection_security_policy": "unknown",
        "destination_version": "v3",
        "destination_canonical_revision": "v3",
    }
    [(destination, _)] = await series(pair.server.envoy, connection_security_policy="mutual_tls")
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
    [(labels, _)] = await series(pair.server.envoy, connection_security_policy="none")
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
    [(labels, _)] = await series(pair.server.envoy, source_principal=principal)
    seen = {labels[f"source_{name}"] for name in ("workload", "app")}
    assert seen == {"admin" if believed else "unknown"}
    assert labels["source_workload_namespace"] == (namespace if believed else "unknown")


async def test_connections_name_the_server_by_its_endpoint(pair: Pair) -> None:
    address = (OUTBOUND, pair.server.port("tcp")[1])
    assert (await traffic.exchange(address, b"\x00hello")).status == 1
    name = "istio_tcp_connections_opened_total"
    [(source, _)] = await series(pair.client, name)
    assert source["destination_workload"] == source["destination_app"] == "server"
    assert source["source_workload"] == "client-d"
    [(destination, _)] = await series(pair.server.envoy, name)
    assert destination["source_principal"] == BOTH["source_principal"]
    assert destination["source_workload"] == "unknown"
