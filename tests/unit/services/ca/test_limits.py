import pytest

from services.ca import limits
from services.ca.limits import Buckets
from tests.support.clock import VirtualClock


async def test_a_burst_then_the_rate() -> None:
    clock = VirtualClock()
    buckets = Buckets(rate=2.0, burst=5.0, clock=clock)
    assert [buckets.take("a") for _ in range(7)] == [True] * 5 + [False] * 2
    await clock.advance(1.0)
    assert [buckets.take("a") for _ in range(4)] == [True, True, False, False]
    await clock.advance(3600.0)
    assert [buckets.take("a") for _ in range(7)] == [True] * 5 + [False] * 2


def test_one_key_does_not_empty_the_bucket_of_another() -> None:
    buckets = Buckets(rate=1.0, burst=1.0, clock=VirtualClock())
    assert buckets.take("a")
    assert not buckets.take("a")
    assert buckets.take("b")


def test_the_number_of_buckets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BUCKETS", 10)
    buckets = Buckets(rate=1.0, burst=1.0, clock=VirtualClock())
    assert all(buckets.take(f"k{n}") for n in range(100))
    assert len(buckets._levels) == 10
    assert not buckets.take("k99")
