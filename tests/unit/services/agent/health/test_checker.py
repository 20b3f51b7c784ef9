"""When a workload counts as well, and when as unwell."""

import asyncio
from collections.abc import Sequence

import pytest

from libs.runtime.tasks import background
from services.agent.health.checker import Checker, Tally, Verdict
from services.agent.health.probe import ReadinessProbe
from tests.support.clock import VirtualClock

WELL, BAD = "", "status 500"
IS_WELL, IS_BAD = Verdict(healthy=True), Verdict(healthy=False, reason=BAD)


# proves: WorkloadGroup spec.probe.successThreshold, spec.probe.failureThreshold
@pytest.mark.parametrize(
    ("probe", "answers", "verdicts"),
    [
        (ReadinessProbe(), [WELL, WELL], [IS_WELL]),
        (ReadinessProbe(), [BAD, BAD, WELL, WELL, BAD], [IS_BAD, IS_WELL, IS_BAD]),
        (ReadinessProbe(success_threshold=2), [WELL, BAD, WELL, WELL], [IS_BAD, IS_WELL]),
        (ReadinessProbe(failure_threshold=3), [WELL, BAD, BAD, WELL, BAD, BAD], [IS_WELL]),
        (ReadinessProbe(failure_threshold=3), [WELL, BAD, BAD, BAD], [IS_WELL, IS_BAD]),
        (ReadinessProbe(failure_threshold=2), [BAD], []),
    ],
)
def test_so_many_answers_in_a_row_decide(
    probe: ReadinessProbe, answers: Sequence[str], verdicts: Sequence[Verdict]
) -> None:
    tally = Tally(probe)
    assert [tally.verdict for answer in answers if tally.count(answer)] == verdicts


# proves: WorkloadGroup spec.probe.initialDelaySeconds, spec.probe.periodSeconds
async def test_probes_begin_after_the_delay_and_are_a_period_apart() -> None:
    clock, asked, told = VirtualClock(), asyncio.Queue[float](), list[Verdict]()

    async def ask() -> str:
        asked.put_nowait(clock.monotonic())
        return WELL

    started = clock.monotonic()
    probe = ReadinessProbe(initial_delay_seconds=7, period_seconds=3)
    async with background(Checker(probe, ask, clock).run(told.append)):
        await clock.advance(6.9)
        assert asked.empty()
        await clock.advance(0.2)
        assert asked.get_nowait() == pytest.approx(started + 7, abs=0.2)
        await clock.advance(2.5)
        assert asked.empty()
        await clock.advance(0.5)
        assert asked.get_nowait() == pytest.approx(started + 10, abs=0.2)
    assert told == [IS_WELL]
