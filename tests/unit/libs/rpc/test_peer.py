import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc
import pytest
from cryptography import x509

from libs.model.ids import SpiffeId
from libs.pki import keys
from libs.rpc import channel, peer, server, tls
from libs.rpc.errors import CredentialError
from libs.rpc.peer import Context
from libs.runtime.clock import SystemClock
from tests.support.grpc_peers import (
    SERVER_NAME,
    Behaviour,
    call,
    material,
    server_keychain,
    test_root,
    unary,
)
from tests.support.pki import leaf_by_hand

BOB = SpiffeId("cluster.local", "shop", "bob")
ROOT = test_root()
URI = x509.UniformResourceIdentifier(str(BOB))


async def who(body: bytes, context: Context) -> bytes:
    try:
        return f"{peer.identity(context)} from {peer.address(context)}".encode()
    except CredentialError as error:
        return f"refused: {error}".encode()


async def token(body: bytes, context: Context) -> bytes:
    try:
        return peer.bearer_token(context).encode()
    except CredentialError as error:
        return f"refused: {error}".encode()


def serving(behaviour: Behaviour, *, mutual: bool) -> AbstractAsyncContextManager[int]:
    credentials = server_keychain(ROOT).server_credentials(mutual=mutual)
    return server.running([unary(behaviour)], server.Port("127.0.0.1:0", credentials))


async def ask(port: int, credentials: grpc.ChannelCredentials, *headers: tuple[str, Any]) -> str:
    async with channel.connect(
        f"127.0.0.1:{port}", credentials=credentials, server_name=SERVER_NAME
    ) as open_channel:
        answer = await call(open_channel, metadata=headers)
    return answer.decode() if isinstance(answer, bytes) else answer.name


async def test_the_identity_is_that_of_the_verified_certificate() -> None:
    async with serving(who, mutual=True) as port:
        credentials = tls.Keychain(material(ROOT, BOB)).channel_credentials()
        assert await ask(port, credentials) == f"{BOB} from 127.0.0.1"


async def test_without_a_certificate_there_is_no_identity_not_even_locally() -> None:
    async with serving(who, mutual=False) as port:
        credentials = tls.trusting(ROOT.root_pem)
        headers = [("x-forwarded-client-cert", f"URI={BOB}"), ("x-forwarded-for", "10.0.0.1")]
        assert await ask(port, credentials, *headers) == "None from 127.0.0.1"


@pytest.mark.parametrize(
    "names",
    [
        (),
        (x509.DNSName("bob.shop.svc"),),
        (URI, x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/eve")),
        (URI, URI),
        (x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/bob/"),),
        (x509.UniformResourceIdentifier("spiffe://cluster.local/ns/shop/sa/bob%00"),),
        (x509.UniformResourceIdentifier("https://shop/bob"),),
        (x509.UniformResourceIdentifier(f"{BOB}\0"),),
        (x509.UniformResourceIdentifier(f"{BOB}\0.evil.example"),),
    ],
    ids=["none", "DNS only", "two", "same twice", "slash", "escape", "https", "NUL", "NUL inside"],
)
async def test_certificates_that_name_no_single_service_are_refused(
    names: tuple[x509.GeneralName, ...],
) -> None:
    now = SystemClock().now()
    key = keys.generate()
    leaf = leaf_by_hand(ROOT, key, names=names, period=(now - 60, now + 600))
    shown = tls.Keychain(tls.Material(keys.to_pem(key), leaf, ROOT.root_pem))
    async with serving(who, mutual=True) as port:
        answer = await ask(port, shown.channel_credentials())
    assert answer.startswith("refused")


GOOD = "abc.def-_.ghi"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([("authorization", f"Bearer {GOOD}")], GOOD),
        ([("authorization", f"Bearer {'x' * 8192}")], "x" * 8192),
        ([], "refused"),
        ([("authorization", f"Bearer {GOOD}")] * 2, "refused"),
        ([("authorization", "Bearer ")], "refused"),
        ([("authorization", f"bearer {GOOD}")], "refused"),
        ([("authorization", f"Bearer  {GOOD}")], "refused"),
        ([("authorization", f"Bearer {GOOD} x")], "refused"),
        ([("authorization", f"Basic {GOOD}")], "refused"),
        ([("authorization", GOOD)], "refused"),
        ([("authorization-bin", f"Bearer {GOOD}".encode())], "refused"),
        ([("authorization", f"Bearer {'x' * 8193}")], "refused"),
    ],
)
async def test_bearer_token(headers: list[tuple[str, Any]], expected: str) -> None:
    async with serving(token, mutual=False) as port:
        answer = await ask(port, tls.trusting(ROOT.root_pem), *headers)
    assert answer.startswith(expected)


async def test_a_megabyte_of_headers_is_cut_off_before_any_handler() -> None:
    async with serving(token, mutual=False) as port:
        credentials = tls.trusting(ROOT.root_pem)
        huge = ("authorization", "Bearer " + "x" * 1_000_000)
        answer = await ask(port, credentials, huge)
        assert answer in {"RESOURCE_EXHAUSTED", "UNAVAILABLE"}
        assert await ask(port, credentials, ("authorization", f"Bearer {GOOD}")) == GOOD
        await asyncio.sleep(0)


@pytest.mark.parametrize("length", [2, 100, 101, 200, 253])
async def test_names_of_every_length_are_read(length: int) -> None:
    long = SpiffeId("cluster.local", "n" * length, "s" * length)
    async with serving(who, mutual=True) as port:
        credentials = tls.Keychain(material(ROOT, long)).channel_credentials()
        assert await ask(port, credentials) == f"{long} from 127.0.0.1"
