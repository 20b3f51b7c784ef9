"""When all proxies are looked at again."""

from libs.protos.receipts.v1.receipts_pb2 import Standing
from services.discovery.status.receipts import MOVING_LOOKS, Population


def test_many_that_come_together_are_one_piece_of_news() -> None:
    population = Population()
    coming = [population.is_news(Standing(connected=it, joined=it)) for it in (10, 400, 1000)]
    assert coming == [False] * 3
    there = Standing(connected=1000, joined=1000)
    assert [population.is_news(there) for _ in range(3)] == [True, False, False]


def test_who_never_stops_coming_is_looked_at_now_and_then() -> None:
    population = Population()
    told = [population.is_news(Standing(connected=5, joined=it)) for it in range(1, 61)]
    assert told.count(True) == 60 // MOVING_LOOKS


def test_a_refusal_is_news_too() -> None:
    population = Population()
    one, other = Standing(connected=5, joined=5), Standing(connected=5, joined=5, rejecting=1)
    assert [population.is_news(it) for it in (one, one, other, other)] == [
        False,
        True,
        False,
        True,
    ]
