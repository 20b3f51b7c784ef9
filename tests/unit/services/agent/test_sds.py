"""Secrets over a real socket, asked in both forms of the protocol with Envoy's own messages."""

from pathlib import Path

from envoy.service.discovery.v3 import discovery_pb2

from services.agent import sds as served
from services.agent.sds import DELTA, STREAM
from services.agent.secrets import TYPE_URL, Secrets, certificate, validation
from services.agent.streams.connection import Stream
from services.agent.streams.messages import pack
from tests.support.sds_client import answer, ask, receive, stream


async def test_envoy_reads_what_is_served(tmp_path: Path) -> None:
    secrets = Secrets()
    secrets.put(certificate("default", chain=b"C", key=b"K"), validation("ROOTCA", roots=b"R"))
    async with stream(tmp_path, secrets, STREAM) as opened:
        await ask(opened, "default", "ROOTCA")
        (own, roots), _ = await answer(opened)
    assert own.name == "default"
    assert own.tls_certificate.certificate_chain.inline_bytes == b"C"
    assert own.tls_certificate.private_key.inline_bytes == b"K"
    assert roots.validation_context.trusted_ca.inline_bytes == b"R"


async def test_a_secret_that_comes_later_is_sent_then_and_only_when_it_changes(
    tmp_path: Path,
) -> None:
    secrets = Secrets()
    async with stream(tmp_path, secrets, STREAM) as opened:
        await ask(opened, "default")
        first = certificate("default", chain=b"1", key=b"K")
        secrets.put(first)
        (one,), nonce = await answer(opened)
        await ask(opened, "default", nonce=nonce)  # the acknowledgement
        secrets.put(first, validation("ROOTCA", roots=b"nobody asked"))
        secrets.put(certificate("default", chain=b"2", key=b"K"))
        (two,), _ = await answer(opened)
    assert one.tls_certificate.certificate_chain.inline_bytes == b"1"
    assert two.tls_certificate.certificate_chain.inline_bytes == b"2"


async def test_a_refused_secret_is_not_sent_again(tmp_path: Path) -> None:
    secrets = Secrets()
    secrets.put(certificate("default", chain=b"bad", key=b"K"))
    async with stream(tmp_path, secrets, STREAM) as opened:
        await ask(opened, "default")
        _, nonce = await answer(opened)
        await ask(opened, "default", nonce=nonce, complaint="cannot load certificate")
        secrets.put(certificate("default", chain=b"good", key=b"K"))
        (one,), _ = await answer(opened)
    assert one.tls_certificate.certificate_chain.inline_bytes == b"good"


async def test_delta(tmp_path: Path) -> None:
    secrets = Secrets()
    secrets.put(certificate("default", chain=b"1", key=b"K"))

    async def send(opened: Stream, **fields: list[str]) -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=TYPE_URL, **fields)
        await opened.write(pack(request.SerializeToString()))

    async with stream(tmp_path, secrets, DELTA) as opened:
        await send(opened, resource_names_subscribe=["default"])
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await receive(opened))
        assert [one.name for one in response.resources] == ["default"]
        await send(opened, resource_names_unsubscribe=["default"])
        await send(opened, resource_names_subscribe=["default"])
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(await receive(opened))
        assert [one.name for one in response.resources] == ["default"]


async def test_nonsense_and_too_many_names_end_the_stream(tmp_path: Path) -> None:
    for body in (
        b"\xff\xff\xff",
        discovery_pb2.DiscoveryRequest(
            resource_names=[str(number) for number in range(served.MAX_NAMES + 1)]
        ).SerializeToString(),
    ):
        async with stream(tmp_path, Secrets(), STREAM) as opened:
            await opened.write(pack(body))
            assert await receive(opened) == b""
            assert opened.trailers["grpc-status"] == "3"


def test_keys_do_not_show_themselves() -> None:
    assert "PRIVATE" not in repr(certificate("default", chain=b"C", key=b"PRIVATE"))
