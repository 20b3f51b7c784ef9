import asyncio
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
import pytest

from libs.model.ids import SpiffeId
from libs.rpc import channel, server, tls
from libs.rpc.errors import NotReadyError
from libs.rpc.peer import Context
from tests.support.grpc_peers import (
    SERVER,
    SERVER_NAME,
    call,
    material,
    server_keychain,
    test_root,
    unary,
)

BOB = SpiffeId("cluster.local", "shop", "bob")
ROOT, STRANGER = test_root(), test_root()


async def echo(body: bytes, context: Context) -> bytes:
    return body


def serving(keychain: tls.Keychain, *, mutual: bool = True) -> AbstractAsyncContextManager[int]:
    port = server.Port("127.0.0.1:0", keychain.server_credentials(mutual=mutual))
    return server.running([unary(echo)], port)


async def ask(port: int, credentials: grpc.ChannelCredentials, name: str = SERVER_NAME) -> object:
    async with channel.connect(
        f"127.0.0.1:{port}", credentials=credentials, server_name=name
    ) as open_channel:
        return await call(open_channel, b"hello")


async def test_who_is_let_in() -> None:
    bob = tls.Keychain(material(ROOT, BOB)).channel_credentials()
    stranger = tls.Material(*_key_and_chain(material(STRANGER, BOB)), ROOT.root_pem)
    trusts_another = tls.Material(*_key_and_chain(material(ROOT, BOB)), STRANGER.root_pem)
    async with serving(server_keychain(ROOT)) as port:
        assert await ask(port, bob) == b"hello"
        for credentials, name in [
            (tls.trusting(ROOT.root_pem), SERVER_NAME),  # shows no certificate
            (tls.Keychain(stranger).channel_credentials(), SERVER_NAME),
            (tls.Keychain(trusts_another).channel_credentials(), SERVER_NAME),
            (bob, "seine-other.istio-system.svc"),
            (bob, "localhost"),
        ]:
            assert await ask(port, credentials, name) == grpc.StatusCode.UNAVAILABLE
        assert await ask(port, bob) == b"hello"


def _key_and_chain(of: tls.Material) -> tuple[bytes, bytes]:
    return of.key, of.chain


async def test_a_token_port_asks_for_no_certificate() -> None:
    async with serving(server_keychain(ROOT), mutual=False) as port:
        assert await ask(port, tls.trusting(ROOT.root_pem)) == b"hello"


async def test_a_replaced_certificate_serves_the_next_handshake_and_open_channels_stay() -> None:
    keychain = server_keychain(ROOT)
    bob = tls.Keychain(material(ROOT, BOB)).channel_credentials()
    async with (
        serving(keychain) as port,
        channel.connect(f"127.0.0.1:{port}", credentials=bob, server_name=SERVER_NAME) as before,
    ):
        assert await call(before) == b""
        keychain.replace(material(STRANGER, SERVER, dns_names=(SERVER_NAME,)))
        assert await call(before) == b""
        assert await ask(port, bob) == grpc.StatusCode.UNAVAILABLE
        new = tls.Keychain(material(STRANGER, BOB)).channel_credentials()
        assert await ask(port, new) == b"hello"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_versions_are_refused(version: ssl.TLSVersion) -> None:
    context = _client(minimum=version, maximum=version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    async with serving(server_keychain(ROOT), mutual=False) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)


async def test_new_versions_are_spoken_with_forward_secrecy_and_aead() -> None:
    async with serving(server_keychain(ROOT), mutual=False) as port:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = _client(minimum=version, maximum=version)
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            try:
                tls_object = writer.get_extra_info("ssl_object")
                name, _, _ = tls_object.cipher()
                assert name.startswith(("TLS_", "ECDHE-"))
                assert "GCM" in name or "CHACHA20" in name
                assert tls_object.selected_alpn_protocol() == "h2"
            finally:
                writer.close()


@pytest.mark.parametrize(
    "ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "DHE", "3DES", "RC4"]
)
async def test_weak_ciphers_are_refused(ciphers: str) -> None:
    context = _client(maximum=ssl.TLSVersion.TLSv1_2)
    try:
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    except ssl.SSLError:
        pytest.skip(f"this machine's OpenSSL has no {ciphers} to offer")
    async with serving(server_keychain(ROOT), mutual=False) as port:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection("127.0.0.1", port, ssl=context)


def _client(
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    maximum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = minimum
    context.maximum_version = maximum
    context.set_alpn_protocols(["h2"])
    return context


def test_a_key_is_not_printed(tmp_path: Path) -> None:
    of = material(ROOT, BOB)
    assert b"PRIVATE" in of.key
    assert "PRIVATE" not in f"{of} {of!r} {[of]}"


def test_nothing_is_served_before_there_is_a_certificate() -> None:
    with pytest.raises(NotReadyError):
        tls.Keychain().server_credentials(mutual=True)
    with pytest.raises(NotReadyError):
        tls.Keychain().channel_credentials()


def test_plain_text_is_only_for_unix_sockets(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain text"):
        channel.connect("127.0.0.1:1", credentials=None)


async def test_a_unix_socket_serves_without_tls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="plain text"):
        server.build([], server.Port("127.0.0.1:0"))
    address = f"unix:{tmp_path}/socket"
    async with (
        server.running([unary(echo)], server.Port(address)),
        channel.connect(address, credentials=None) as open_channel,
    ):
        assert await call(open_channel, b"x") == b"x"
