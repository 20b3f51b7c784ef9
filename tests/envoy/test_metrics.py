"""Istio's standard metrics as a real Envoy counts them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from libs.model.security import AccessRule, Action, MtlsMode
from libs.model.service import Protocol
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import TestAuthority, client_context
from tests.support.workload import Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

REQUESTS = "istio_requests_total"
HTTP = ("istio-http/1.1", "istio", "http/1.1")
TCP = ("istio-peer-exchange", "istio")
HTTP_LABELS = {
    "reporter",
    *(
        f"{side}_{name}"
        for side in ("source", "destination")
        for name in (
            "workload",
            "workload_namespace",
            "principal",
            "app",
            "version",
            "canonical_service",
            "canonical_revision",
            "cluster",
        )
    ),
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
}
WORKLOAD = Workload(ports={"http": Protocol.HTTP, "tcp": Protocol.TCP}, mode=MtlsMode.PERMISSIVE)


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    async with serving(authority, WORKLOAD, tmp_path_factory.mktemp("envoy")) as running:
        yield running


async def test_a_request_over_mesh_tls(
    server: Server, authority: TestAuthority, tmp_path: Path
) -> None:
    tls = client_context(authority.issue("alice"), tmp_path, HTTP)
    assert (await traffic.http(server.port("http"), tls=tls)).status == 200
    [(labels, value)] = await server.envoy.counted(
        REQUESTS, connection_security_policy="mutual_tls"
    )
    assert value == 1
    assert labels.keys() == HTTP_LABELS
    assert labels == {
        "reporter": "destination",
        "source_workload": "unknown",
        "source_workload_namespace": "shop",
        "source_principal": "spiffe://cluster.local/ns/shop/sa/alice",
        "source_app": "unknown",
        "source_version": "unknown",
        "source_canonical_service": "unknown",
        "source_canonical_revision": "latest",
        "source_cluster": "unknown",
        "destination_workload": "server",
        "destination_workload_namespace": "shop",
        "destination_principal": "spiffe://cluster.local/ns/shop/sa/server",
        "destination_app": "server",
        "destination_version": "unknown",
        "destination_canonical_service": "server",
        "destination_canonical_revision": "latest",
        "destination_cluster": "Kubernetes",
        "destination_service": "server.shop.svc.cluster.local",
        "destination_service_name": "server",
        "destination_service_namespace": "shop",
        "request_protocol": "http",
        "response_code": "200",
        "grpc_response_status": "",
        "response_flags": "-",
        "connection_security_policy": "mutual_tls",
    }


async def test_a_request_in_plaintext_has_no_identity(server: Server) -> None:
    grpc = {"content-type": "application/grpc"}
    assert (await traffic.http(server.port("http"), headers=grpc)).status == 200
    [(labels, _)] = await server.envoy.counted(REQUESTS, connection_security_policy="none")
    assert labels["source_principal"] == labels["destination_principal"] == "unknown"
    assert labels["source_workload_namespace"] == "unknown"
    assert labels["request_protocol"] == "grpc"


async def test_durations_and_sizes(server: Server) -> None:
    assert (await traffic.http(server.port("http"), "/" + "x" * 1000)).status == 200
    async with asyncio.timeout(60):  # histograms show nothing before they are flushed
        while not await _has_counted(server, 1000):
            pass
    for name in ("istio_request_duration_milliseconds", "istio_response_bytes"):
        found = await server.envoy.series(f"{name}_count", connection_security_policy="none")
        assert found
        assert all(labels.keys() == HTTP_LABELS for labels, _ in found)


async def _has_counted(server: Server, size: int) -> bool:
    sums = await server.envoy.series("istio_request_bytes_sum", request_protocol="http")
    return any(value > size for _, value in sums)


async def test_connections_and_their_bytes(
    server: Server, authority: TestAuthority, tmp_path: Path
) -> None:
    tls = client_context(authority.issue("alice"), tmp_path, TCP)
    sent = b"\x00" + b"x" * 99
    assert (await traffic.exchange(server.port("tcp"), sent, tls=tls)).status == 1
    for name, least in (
        ("istio_tcp_connections_opened_total", 1),
        ("istio_tcp_connections_closed_total", 1),
        ("istio_tcp_sent_bytes_total", 100),
        ("istio_tcp_received_bytes_total", 100),
    ):
        [(labels, value)] = await server.envoy.counted(name, request_protocol="tcp")
        assert value == least, name
        assert labels.keys() == HTTP_LABELS - {"response_code", "grpc_response_status"}
        assert labels["source_principal"] == "spiffe://cluster.local/ns/shop/sa/alice"
        assert labels["destination_service_name"] == "server"


async def test_counters_outlive_a_change_of_the_listener(server: Server) -> None:
    before = await _requests(server)
    policy = rows.access_policy("deny", action=Action.DENY, rules=(AccessRule(),))
    await server.apply(Workload(ports=WORKLOAD.ports, mode=MtlsMode.PERMISSIVE, policies=(policy,)))
    assert (await traffic.http(server.port("http"))).status == 403
    [(refused, _)] = await server.envoy.counted(REQUESTS, response_code="403")
    assert await _requests(server) == before + 1
    assert refused["destination_service"] == "server.shop.svc.cluster.local"


async def _requests(server: Server) -> float:
    return sum(value for _, value in await server.envoy.series(REQUESTS))
