"""Which protocol a real Envoy names over TLS to the server of a cluster."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_components_pb2 import Route, RouteAction, RouteMatch, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext

from libs.model.service import Protocol
from libs.proxy.inbound import inbound_scope
from libs.xds.generate import connection_pool, typed
from libs.xds.generate.connection_manager import http_connection_manager
from libs.xds.generate.filters import alpn
from libs.xds.types import CLUSTER, LISTENER, Snapshot, resource, resource_set
from tests.support import mesh as rows
from tests.support import traffic
from tests.support.certificates import Certificate, TestAuthority
from tests.support.envoy import running
from tests.support.ports import free_ports

KEPT = ["own"]
OFFERS = ["istio-http/1.1", "istio-h2", "istio", "own"]


@asynccontextmanager
async def tls_server(port: int, certificate: Certificate, folder: Path) -> AsyncIterator[list[str]]:
    """Note the protocol that is agreed on with each client."""
    chosen: list[str] = []
    path = folder / "server.pem"
    path.write_bytes(certificate.chain + certificate.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(OFFERS)

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        agreed = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        chosen.append(agreed or "")
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", port, ssl=context)
    try:
        yield chosen
    finally:
        server.close()


def cluster(port: int, kind: str) -> Cluster:
    tls = UpstreamTlsContext(common_tls_context=CommonTlsContext(alpn_protocols=KEPT))
    made = Cluster(name="c", type=Cluster.DiscoveryType.STATIC)
    made.connect_timeout.FromSeconds(1)
    made.transport_socket.CopyFrom(typed.transport_socket("envoy.transport_sockets.tls", tls))
    made.load_assignment.cluster_name = "c"
    where = made.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    where.address, where.port_value = "127.0.0.1", port
    sniffed = kind == "follows the client"
    http2 = kind == "http2"
    options = connection_pool.http_options(Protocol.AUTO, None, http2=http2, sniffed=sniffed)
    connection_pool.set_http_options(made, options)
    metadata = made.metadata.filter_metadata["istio"].fields
    if kind == "outside the mesh":
        metadata["alpn_override"].string_value = "false"
    elif sniffed:
        metadata["subset"].string_value = "v1"
    else:
        alpn.mark(made, http2=http2)
    return made


def listener(port: int) -> Listener:
    action = RouteAction(cluster="c")
    route = Route(match=RouteMatch(prefix="/"), route=action)
    host = VirtualHost(name="h", domains=["*"], routes=[route])
    manager = http_connection_manager(
        own=inbound_scope(rows.mesh(), rows.proxy()),
        direction="outbound",
        stat_prefix="x",
        routes=RouteConfiguration(virtual_hosts=[host]),
        filters=[alpn.FILTER],
    )
    made = Listener(name="l", filter_chains=[FilterChain(filters=[manager])])
    where = made.address.socket_address
    where.address, where.port_value = "127.0.0.1", port
    return made


def snapshot(inlet: int, outlet: int, kind: str) -> Snapshot:
    bodies = {
        CLUSTER: cluster(outlet, kind).SerializeToString(),
        LISTENER: listener(inlet).SerializeToString(),
    }
    return Snapshot(
        {url: resource_set(url, [resource("r", url, body=body)]) for url, body in bodies.items()}
    )


@pytest.mark.parametrize(
    ("kind", "agreed"),
    [
        ("http1", "istio-http/1.1"),
        ("http2", "istio-h2"),
        ("follows the client", "istio-http/1.1"),
        ("outside the mesh", "own"),
    ],
)
async def test_protocols(tmp_path: Path, kind: str, agreed: str) -> None:
    certificate = TestAuthority().issue("server")
    inlet, outlet = free_ports(2)
    async with (
        tls_server(outlet, certificate, tmp_path) as chosen,
        running(snapshot(inlet, outlet, kind), certificate, tmp_path) as envoy,
    ):
        assert await envoy.complaints() == []
        await traffic.http(("127.0.0.1", inlet))
    assert set(chosen) == {agreed}
