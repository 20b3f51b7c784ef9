"""Disputes: what is written again and again waits ever longer, is told once, and ends."""

import logging

import pytest
from prometheus_client import REGISTRY

from libs.model.ids import Ref
from services.discovery.status.disputes import BACKOFF, QUIET_SECONDS, TIMES, Disputes
from tests.support.clock import VirtualClock

WEB = Ref("Ingress/shop/web")


def _count() -> float | None:
    return REGISTRY.get_sample_value("seine_discovery_status_disputes", {"what": "addresses"})


async def _overruled(disputes: Disputes, clock: VirtualClock, times: int) -> list[float]:
    """Write each time as soon as it is allowed; return how long that took."""
    waits = []
    for _ in range(times):
        wait = disputes.wait(WEB, "ours")
        waits.append(wait)
        await clock.advance(wait)
        disputes.note(WEB, "ours", "another")
    return waits


async def test_each_time_waits_longer_and_it_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = VirtualClock()
    disputes = Disputes(clock, "addresses")
    with caplog.at_level(logging.WARNING):
        first, second, *later = await _overruled(disputes, clock, 20)
    assert first == second == 0.0  # once may have any reason
    assert all(0 < wait <= BACKOFF.limit for wait in later)
    assert later[0] < later[2] < later[4] < later[-1]
    assert later[-1] >= BACKOFF.limit / 2
    assert [one.__dict__["writers"] for one in caplog.records] == ["another"]
    assert _count() == 1
    disputes.forget(WEB)
    assert _count() == 0
    assert disputes.wait(WEB, "ours") == 0.0


async def test_who_has_something_else_to_say_says_it_at_once() -> None:
    clock = VirtualClock()
    disputes = Disputes(clock, "addresses")
    await _overruled(disputes, clock, TIMES + 2)
    assert disputes.wait(WEB, "ours") > 0.0
    assert disputes.wait(WEB, "new") == 0.0
    disputes.note(WEB, "new", "")
    assert _count() == 0


async def test_it_is_over_when_nothing_had_to_be_written_for_a_while() -> None:
    clock = VirtualClock()
    disputes = Disputes(clock, "addresses")
    await _overruled(disputes, clock, TIMES)
    assert disputes.remaining(WEB) == 0.0  # none yet
    await _overruled(disputes, clock, 1)
    left = disputes.remaining(WEB)
    assert left >= QUIET_SECONDS
    await clock.advance(left)
    assert disputes.remaining(WEB) == 0.0
    assert _count() == 0
    assert disputes.wait(WEB, "ours") == 0.0
