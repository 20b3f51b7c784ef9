from libs.cache.breaker import Breaker


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _breaker() -> tuple[Breaker, Time]:
    time = Time()
    return Breaker(monotonic=time, chance=lambda: 0.99999), time


def test_opens_after_three_failures_in_a_row() -> None:
    breaker, _ = _breaker()
    assert [breaker.failed() for _ in range(2)] == [False, False]
    assert not breaker.open
    assert breaker.failed()
    assert breaker.open


def test_an_answer_in_between_starts_the_count_again() -> None:
    breaker, _ = _breaker()
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    assert not breaker.open


def test_lets_one_try_after_the_pause_and_pauses_longer_after_each() -> None:
    breaker, time = _breaker()
    for _ in range(3):
        breaker.failed()
    time.now = 1.0
    assert not breaker.open
    breaker.failed()
    assert breaker.open
    time.now = 2.5
    assert breaker.open
    time.now = 3.0
    assert not breaker.open
    assert breaker.succeeded()
