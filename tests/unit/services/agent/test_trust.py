"""What an agent says of the roots that its Envoy has accepted, and when it says it anew."""

from pathlib import Path

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from libs.pki import authority, bundle
from libs.runtime.tasks import background
from services.agent.issued import Issued
from services.agent.rotation import RENEW_SOON_SECONDS, Rotation
from services.agent.sds import DELTA, STREAM
from services.agent.secrets import Secrets, validation
from services.agent.streams.connection import Stream
from services.agent.streams.messages import pack
from services.agent.trust import LOOK_SECONDS, NONE, Published, TrustedRoots, identifiers
from tests.support.clock import VirtualClock
from tests.support.pki import intermediate, root
from tests.support.sds_client import answer, ask, receive, stream

FIRST, SECOND = root("first"), root("second")
BOTH = bundle.to_pem([FIRST.certificate, SECOND.certificate]).decode()


def test_roots_have_the_names_that_the_ca_gives_them() -> None:
    names = sorted(authority.identifier(it.certificate) for it in (FIRST, SECOND))
    assert identifiers(BOTH) == ",".join(names)
    assert identifiers("# a comment\n" + FIRST.root_pem.decode()) in names
    assert identifiers(intermediate(FIRST).root_pem.decode()) in names


@pytest.mark.parametrize("text", ["", "garbage", "-----END CERTIFICATE-----", BOTH[:100]])
def test_what_is_no_certificate_has_no_name(text: str) -> None:
    assert identifiers(text) == NONE


def test_it_is_said_what_envoy_accepted_and_not_what_it_was_offered() -> None:
    trusted = TrustedRoots()
    change = trusted.next_change()
    assert trusted.header == NONE
    trusted.offer("1", FIRST.root_pem.decode())
    assert trusted.header == NONE
    trusted.accept("1")
    assert trusted.header == identifiers(FIRST.root_pem.decode())
    assert not change.is_set()  # streams opened before the first certificate go on
    trusted.offer("2", BOTH)
    trusted.accept("1")
    assert not change.is_set()
    trusted.accept("2")
    assert change.is_set()
    assert trusted.header == identifiers(BOTH)


def test_of_roots_that_come_from_elsewhere_nothing_is_said() -> None:
    trusted = TrustedRoots()
    trusted.offer("1", BOTH)
    trusted.forget()
    trusted.accept("1")
    assert trusted.header == ""


async def test_a_published_root_is_a_reason_to_renew(tmp_path: Path) -> None:
    clock, told = VirtualClock(), []
    file = tmp_path / "root-cert.pem"
    async with background(Published(file, lambda: told.append(1), clock=clock).run()):
        for content, expected in (
            (FIRST.root_pem, 0),  # the volume is mounted
            (FIRST.root_pem, 0),
            (BOTH.encode(), 1),
            (b"", 1),  # between two states
            (BOTH.encode(), 1),
            (SECOND.root_pem, 2),
        ):
            file.write_bytes(content)
            await clock.advance(LOOK_SECONDS + 0.1)
            assert len(told) == expected


async def test_pods_that_learn_of_a_root_together_renew_one_after_another() -> None:
    clock = VirtualClock()
    asked: list[float] = []

    async def obtain() -> Issued:
        asked.append(clock.monotonic())
        now = clock.now()
        return Issued(key="K", chain="C", roots="R", not_before=now, not_after=now + 86_400)

    rotations = [
        Rotation(obtain, lambda _: None, clock=clock, chance=lambda n=n: n / 4) for n in range(4)
    ]
    async with background(*(it.run() for it in rotations)):
        await clock.advance(100)
        for rotation in rotations:
            rotation.renew_soon()
        await clock.advance(RENEW_SOON_SECONDS + 1)
    waited = [moment - 100 for moment in asked[4:]]
    assert waited == pytest.approx([0, 5, 10, 15], abs=0.1)


@pytest.mark.parametrize("method", [STREAM, DELTA])
async def test_what_envoy_acknowledges_is_told_and_what_it_refuses_is_not(
    method: str, tmp_path: Path
) -> None:
    accepted: list[tuple[str, str]] = []
    secrets = Secrets()
    first = validation("ROOTCA", roots=b"1")
    secrets.put(first)
    taken = stream(
        tmp_path, secrets, method, on_accept=lambda name, version: accepted.append((name, version))
    )
    async with taken as envoy:
        await say(envoy, method, subscribe=True)
        nonce = await nonce_of(envoy, method)
        assert accepted == []
        await say(envoy, method, nonce=nonce)
        second = validation("ROOTCA", roots=b"2")
        secrets.put(second)
        nonce = await nonce_of(envoy, method)
        await say(envoy, method, nonce=nonce, complaint="no")
        third = validation("ROOTCA", roots=b"3")
        secrets.put(third)
        nonce = await nonce_of(envoy, method)
        await say(envoy, method, nonce=nonce)
        secrets.put(validation("ROOTCA", roots=b"4"))
        await nonce_of(envoy, method)
    assert accepted == [("ROOTCA", first.version), ("ROOTCA", third.version)]


async def say(
    envoy: Stream, method: str, *, subscribe: bool = False, nonce: str = "", complaint: str = ""
) -> None:
    if method == STREAM:
        await ask(envoy, "ROOTCA", nonce=nonce, complaint=complaint)
        return
    request = discovery_pb2.DeltaDiscoveryRequest(response_nonce=nonce)
    if subscribe:
        request.resource_names_subscribe.append("ROOTCA")
    if complaint:
        request.error_detail.message = complaint
    await envoy.write(pack(request.SerializeToString()))


async def nonce_of(envoy: Stream, method: str) -> str:
    if method == STREAM:
        return (await answer(envoy))[1]
    return discovery_pb2.DeltaDiscoveryResponse.FromString(await receive(envoy)).nonce
