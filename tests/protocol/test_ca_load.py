"""How fast the CA signs, and that one identity which asks too much does not slow the others.

Prints figures and asserts none that depends on the machine.
"""

import asyncio
import sys
from pathlib import Path

import grpc.aio

from libs.model.ids import SpiffeId
from libs.pki import csr
from libs.runtime.clock import SystemClock
from tests.support.pki_ca import BOB, RunningCa, bearer, running_ca

CLOCK = SystemClock()


def percentiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p50, p99 = (ordered[int(len(ordered) * share)] * 1000 for share in (0.50, 0.99))
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


async def timed(ca: RunningCa, identity: SpiffeId, over: grpc.aio.Channel) -> tuple[float, str]:
    request = csr.make_with_key(identity)[1]
    headers = bearer(ca.token(identity))
    start = CLOCK.monotonic()
    answer = await ca.ask(request, headers, over=over)
    return CLOCK.monotonic() - start, answer.code


async def test_a_thousand_requests(tmp_path: Path) -> None:
    async with running_ca(tmp_path, identity_burst=2000, peer_burst=5000) as ca:
        identities = [SpiffeId("cluster.local", "shop", f"sa-{n}") for n in range(1000)]
        requests = [(csr.make_with_key(one)[1], bearer(ca.token(one))) for one in identities]
        taken: list[float] = []

        async def worker() -> None:
            while requests:
                request, headers = requests.pop()
                start = CLOCK.monotonic()
                answer = await ca.ask(request, headers)
                assert answer.code == "OK"
                taken.append(CLOCK.monotonic() - start)

        start = CLOCK.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(worker())
        rate = len(taken) / (CLOCK.monotonic() - start)
    sys.stdout.write(
        f"csr: {len(taken)} by 8 clients in one process with the CA: {rate:.0f}/s, "
        f"{percentiles(taken)}\n"
    )
    assert len(taken) == 1000


async def test_a_flood_by_one_identity_leaves_the_others_served(tmp_path: Path) -> None:
    async with running_ca(
        tmp_path, identity_rate=0.001, identity_burst=50, peer_rate=100_000, peer_burst=100_000
    ) as ca:
        flood_request, flood_headers = csr.make_with_key(BOB)[1], bearer(ca.token(BOB))
        flood: list[str] = []
        until = asyncio.Event()

        async def flooder() -> None:
            over = await ca.connect()
            while not until.is_set():
                flood.append((await ca.ask(flood_request, flood_headers, over=over)).code)

        honest: list[float] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(16):
                group.create_task(flooder())
            for round_ in range(20):
                for n in range(10):
                    identity = SpiffeId("cluster.local", "shop", f"honest-{n}")
                    seconds, code = await timed(ca, identity, ca.token_channel)
                    assert code == "OK", (round_, n)
                    honest.append(seconds)
            until.set()
    refused = flood.count("RESOURCE_EXHAUSTED")
    sys.stdout.write(
        f"flood: {len(flood)} by one identity, {refused} refused; "
        f"{len(honest)} by ten honest ones all granted, {percentiles(honest)}\n"
    )
    assert set(flood) <= {"OK", "RESOURCE_EXHAUSTED"}
    assert refused > 0


async def test_one_address_is_limited_before_its_tokens_are_looked_at(tmp_path: Path) -> None:
    async with running_ca(tmp_path, peer_rate=0.001, peer_burst=5) as ca:
        request = csr.make_with_key()[1]
        codes = [(await ca.ask(request, bearer("x"))).code for _ in range(20)]
    assert codes[:5] == ["UNAUTHENTICATED"] * 5
    assert "RESOURCE_EXHAUSTED" in codes[5:]


async def test_more_than_the_signing_queue_holds_is_refused(tmp_path: Path) -> None:
    async with running_ca(tmp_path, sign_queue=2) as ca:
        request, headers = csr.make_with_key()[1], bearer(ca.token())
        answers = await asyncio.gather(*(ca.ask(request, headers) for _ in range(100)))
        codes = {answer.code for answer in answers}
        assert codes <= {"OK", "RESOURCE_EXHAUSTED"}
        assert "OK" in codes
        assert (await ca.ask(request, headers)).code == "OK"
