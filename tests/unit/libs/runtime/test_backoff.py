import pytest

from libs.runtime.backoff import Backoff


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"),
    [(0, 0.0, 0.5), (0, 1.0, 1.0), (3, 1.0, 8.0), (10, 1.0, 10.0), (10**6, 0.0, 5.0)],
)
def test_delay_doubles_up_to_the_limit(attempt: int, chance: float, seconds: float) -> None:
    assert Backoff(first=1.0, factor=2.0, limit=10.0).delay(attempt, chance) == seconds
