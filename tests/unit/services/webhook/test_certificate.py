"""A new certificate is shown when API servers can believe it, and not before."""

import asyncio
from pathlib import Path

from libs.rpc.tls import Material
from libs.runtime.tasks import background
from services.webhook.certificate import PROPAGATION_SECONDS, Handover
from services.webhook.serving import ServingCertificate
from tests.support.certificates import TestAuthority
from tests.support.clock import VirtualClock

FIRST, SECOND = TestAuthority("first"), TestAuthority("second")


def _material(authority: TestAuthority) -> Material:
    issued = authority.issue("seine-webhook")
    return Material(issued.key, issued.chain, issued.roots)


class Shown(ServingCertificate):
    """Writes down what is used."""

    def __init__(self, log: list[str]) -> None:
        super().__init__()
        self._log = log

    def use(self, key: bytes, chain: bytes) -> None:
        super().use(key, chain)
        self._log.append("use")


class Trust:
    """Writes down what API servers are told; they can be away."""

    def __init__(self, log: list[str]) -> None:
        self._log = log
        self.there = asyncio.Event()
        self.there.set()

    async def announce(self, roots: bytes) -> None:
        del roots
        await self.there.wait()
        self._log.append("announce")

    async def settle(self, roots: bytes) -> None:
        del roots
        await self.there.wait()
        self._log.append("settle")


async def test_the_first_is_used_at_once() -> None:
    log: list[str] = []
    handover = Handover(Shown(log), Trust(log), VirtualClock())
    async with background(handover.run()):
        handover.note(_material(FIRST))
        await handover.ready()
    assert log[0] == "use"


async def test_a_renewal_under_the_same_roots_tells_nobody() -> None:
    log: list[str] = []
    clock, trust = VirtualClock(), Trust(log)
    handover = Handover(Shown(log), trust, clock)
    async with background(handover.run()):
        for _ in range(2):
            handover.note(_material(FIRST))
            await clock.advance(0)
    assert log == ["use", "settle", "use"]


async def test_new_roots_are_told_before_and_given_time() -> None:
    log: list[str] = []
    clock = VirtualClock()
    handover = Handover(Shown(log), Trust(log), clock)
    async with background(handover.run()):
        handover.note(_material(FIRST))
        await clock.advance(0)
        handover.note(_material(SECOND))
        await clock.advance(PROPAGATION_SECONDS / 2)
        assert log == ["use", "settle", "announce"]
        await clock.advance(PROPAGATION_SECONDS)
    assert log == ["use", "settle", "announce", "use", "settle"]


async def test_only_the_latest_counts() -> None:
    log: list[str] = []
    clock = VirtualClock()
    handover = Handover(Shown(log), Trust(log), clock)
    for _ in range(5):
        handover.note(_material(FIRST))
    async with background(handover.run()):
        await clock.advance(0)
    assert log == ["use", "settle"]


def test_a_path_in_memory_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir())
    issued = FIRST.issue("a")
    for _ in range(10):
        Shown([]).use(issued.key, issued.chain)
    assert len(set(Path("/proc/self/fd").iterdir())) <= len(before) + 1
    assert not list(tmp_path.iterdir())
