"""What a real Envoy lets in under each mTLS mode, and the identity that it proves on the wire."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from libs.model.security import MtlsMode
from libs.model.service import Protocol
from libs.model.settings import MeshSettings
from tests.support import traffic
from tests.support.certificates import TestAuthority, client_context, uris
from tests.support.workload import Server, Workload, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")

MESH_HTTP = ("istio-http/1.1", "istio", "http/1.1")
MESH_TCP = ("istio-peer-exchange", "istio")
WORKLOAD = Workload(
    ports={"http": Protocol.HTTP, "auto": Protocol.AUTO, "tcp": Protocol.TCP},
)
BYTES = b"\x00hello there"
ECHO = "\x00HELLO THERE"
OTHER_DOMAIN = MeshSettings(trust_domain_aliases=("old.example",))


@pytest.fixture(scope="module")
def authority() -> TestAuthority:
    return TestAuthority()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(
    authority: TestAuthority, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Server]:
    async with serving(authority, WORKLOAD, tmp_path_factory.mktemp("envoy")) as running:
        yield running


@pytest.fixture
def alice(authority: TestAuthority, tmp_path: Path) -> ssl.SSLContext:
    return client_context(authority.issue("alice"), tmp_path, MESH_HTTP)


@pytest.fixture
def alice_tcp(authority: TestAuthority, tmp_path: Path) -> ssl.SSLContext:
    return client_context(authority.issue("alice"), tmp_path, MESH_TCP)


async def _under(server: Server, mode: MtlsMode, settings: MeshSettings | None = None) -> None:
    wanted = structs.replace(WORKLOAD, mode=mode, settings=settings or MeshSettings())
    await server.apply(wanted)
    assert await server.envoy.complaints() == []


@pytest.mark.parametrize("port", ["http", "auto", "tcp"])
async def test_strict_refuses_plaintext(server: Server, alice: ssl.SSLContext, port: str) -> None:
    await _under(server, MtlsMode.STRICT)
    assert (await traffic.http(server.port(port))).status == 0
    assert (await traffic.exchange(server.port(port), BYTES)).status == 0
    assert (await traffic.http(server.port(port), tls=alice)).status == 200


@pytest.mark.parametrize("port", ["http", "auto", "tcp"])
async def test_permissive_accepts_both(server: Server, alice: ssl.SSLContext, port: str) -> None:
    await _under(server, MtlsMode.PERMISSIVE)
    assert (await traffic.http(server.port(port))).status == 200
    assert (await traffic.http(server.port(port), tls=alice)).status == 200


@pytest.mark.parametrize("port", ["http", "auto", "tcp"])
async def test_disable_accepts_only_plaintext(
    server: Server, alice: ssl.SSLContext, port: str
) -> None:
    await _under(server, MtlsMode.DISABLE)
    assert (await traffic.http(server.port(port))).status == 200
    assert (await traffic.http(server.port(port), tls=alice)).status == 0


@pytest.mark.parametrize("mode", [MtlsMode.STRICT, MtlsMode.PERMISSIVE])
@pytest.mark.parametrize("port", ["auto", "tcp"])
async def test_mesh_tls_carries_bytes_that_are_not_http(
    server: Server, alice_tcp: ssl.SSLContext, port: str, mode: MtlsMode
) -> None:
    await _under(server, mode)
    answer = await traffic.exchange(server.port(port), BYTES, tls=alice_tcp)
    assert answer.body == ECHO


@pytest.mark.parametrize("mode", [MtlsMode.PERMISSIVE, MtlsMode.DISABLE])
@pytest.mark.parametrize("port", ["auto", "tcp"])
async def test_plaintext_bytes_that_are_not_http(server: Server, port: str, mode: MtlsMode) -> None:
    await _under(server, mode)
    assert (await traffic.exchange(server.port(port), BYTES)).body == ECHO


@pytest.mark.parametrize(
    ("mode", "reaches"), [(MtlsMode.PERMISSIVE, True), (MtlsMode.STRICT, False)]
)
async def test_tls_of_the_application_passes_only_where_plaintext_does(
    server: Server, mode: MtlsMode, *, reaches: bool
) -> None:
    await _under(server, mode)
    hello = _client_hello()
    answer = await traffic.exchange(server.port("tcp"), hello)
    assert (answer.body.encode("latin-1") == hello.upper()) is reaches


async def test_http_is_recognised_on_a_port_without_a_name(
    server: Server, alice: ssl.SSLContext
) -> None:
    await _under(server, MtlsMode.PERMISSIVE)
    for tls in (alice, None):
        answer = await traffic.http(server.port("auto"), tls=tls)
        assert answer.headers["server"] == "istio-envoy"
    assert "server" not in (await traffic.http(server.port("tcp"))).headers


async def test_the_server_proves_exactly_its_identity(
    server: Server, alice: ssl.SSLContext
) -> None:
    await _under(server, MtlsMode.STRICT)
    answer = await traffic.http(server.port("http"), tls=alice)
    assert uris(answer.peer) == ["spiffe://cluster.local/ns/shop/sa/server"]
    assert answer.alpn == "http/1.1"


async def test_the_application_is_told_who_called(server: Server, alice: ssl.SSLContext) -> None:
    await _under(server, MtlsMode.PERMISSIVE)
    forged = {"x-forwarded-client-cert": "URI=spiffe://cluster.local/ns/shop/sa/admin"}
    proved = await traffic.http(server.port("http"), tls=alice)
    assert "URI=spiffe://cluster.local/ns/shop/sa/alice" in proved.body
    plain = await traffic.http(server.port("http"), headers=forged)
    assert "spiffe://" not in plain.body


async def test_no_certificate_is_no_way_in(server: Server, tmp_path: Path) -> None:
    await _under(server, MtlsMode.STRICT)
    anonymous = client_context(None, tmp_path, MESH_HTTP)
    assert (await traffic.http(server.port("http"), tls=anonymous)).status == 0


async def test_another_mesh_with_the_same_names_is_refused(server: Server, tmp_path: Path) -> None:
    await _under(server, MtlsMode.STRICT)
    stranger = client_context(TestAuthority("other").issue("alice"), tmp_path, MESH_HTTP)
    assert (await traffic.http(server.port("http"), tls=stranger)).status == 0


@pytest.mark.parametrize(
    ("domain", "settings", "status"),
    [
        ("old.example", None, 0),
        ("old.example", OTHER_DOMAIN, 200),
        ("cluster.local.evil", OTHER_DOMAIN, 0),
        ("cluster.loca", OTHER_DOMAIN, 0),
    ],
)
async def test_only_our_trust_domains_may_call(
    server: Server,
    authority: TestAuthority,
    tmp_path: Path,
    domain: str,
    settings: MeshSettings | None,
    status: int,
) -> None:
    await _under(server, MtlsMode.STRICT, settings)
    certificate = authority.issue("alice", trust_domain=domain)
    tls = client_context(certificate, tmp_path, MESH_HTTP)
    assert (await traffic.http(server.port("http"), tls=tls)).status == status


async def test_a_port_may_differ_from_its_workload(server: Server) -> None:
    wanted = structs.replace(WORKLOAD, mode=MtlsMode.STRICT, port_modes={"http": MtlsMode.DISABLE})
    await server.apply(wanted)
    assert (await traffic.http(server.port("http"))).status == 200
    assert (await traffic.http(server.port("auto"))).status == 0


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        pytest.param(
            ssl.TLSVersion.TLSv1_1,
            False,
            marks=pytest.mark.filterwarnings("ignore::DeprecationWarning"),
        ),
        (ssl.TLSVersion.TLSv1_2, True),
        (ssl.TLSVersion.TLSv1_3, True),
    ],
)
async def test_old_versions_of_tls_are_refused(
    server: Server, alice: ssl.SSLContext, version: ssl.TLSVersion, *, accepted: bool
) -> None:
    await _under(server, MtlsMode.STRICT)
    alice.set_ciphers("ALL:@SECLEVEL=0")
    alice.maximum_version = version
    alice.minimum_version = version
    status = (await traffic.http(server.port("http"), tls=alice)).status
    assert (status == 200) is accepted


def _client_hello() -> bytes:
    """Return the first bytes of an application's own TLS."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stream = context.wrap_bio(incoming, outgoing, server_hostname="own.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        stream.do_handshake()
    return outgoing.read()
