from services.ca.proof import Proof
from tests.support.clock import VirtualClock

ROOT = "0" * 32
SETTLE, LONGEST = 120.0, 86_400.0


class Reporters:
    """Say what they are told to say."""

    def __init__(self) -> None:
        self.all_trust = False
        self.asked: list[float] = []

    async def trusted(self, root: str, since: float) -> bool:
        assert root == ROOT
        self.asked.append(since)
        return self.all_trust


async def held(proof: Proof, *, since: float) -> bool:
    return await proof.holds(ROOT, since=since, longest=LONGEST)


async def test_when_all_older_certificates_have_expired_nobody_is_asked() -> None:
    clock, reporters = VirtualClock(), Reporters()
    proof, since = Proof(reporters.trusted, clock=clock), clock.now()
    await clock.advance(SETTLE + LONGEST - 1)
    assert not await held(proof, since=since)
    asked = len(reporters.asked)
    await clock.advance(1)
    assert await held(proof, since=since)
    assert len(reporters.asked) == asked


async def test_reports_count_once_replicas_have_settled_and_only_if_they_last() -> None:
    clock, reporters = VirtualClock(), Reporters()
    proof, since = Proof(reporters.trusted, clock=clock), clock.now()
    reporters.all_trust = True
    await clock.advance(SETTLE - 1)
    assert not await held(proof, since=since)
    assert reporters.asked == []
    await clock.advance(1)
    assert not await held(proof, since=since)
    assert reporters.asked == [since + SETTLE]
    await clock.advance(SETTLE - 1)
    reporters.all_trust = False  # one more has connected
    assert not await held(proof, since=since)
    reporters.all_trust = True
    await clock.advance(1)
    assert not await held(proof, since=since)
    await clock.advance(SETTLE)
    assert await held(proof, since=since)
    await clock.advance(10 * SETTLE)  # others led, and asked instead
    assert not await held(proof, since=since)
