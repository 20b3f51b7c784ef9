from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from libs.model import changes
from libs.model.changes import MAKERS

moments = st.floats(0, 2_700_000_000)
makers = st.integers(0, MAKERS - 1)


@given(st.lists(moments, min_size=1, max_size=40), makers)
def test_one_maker_never_repeats_a_number_whatever_its_clock_does(
    times: list[float], maker: int
) -> None:
    given_out: list[int] = []
    for now in times:
        last = given_out[-1] if given_out else 0
        given_out.append(changes.next_number(last, now=now, maker=maker))
    assert all(after > before for before, after in pairwise(given_out))
    assert given_out[0] > 0


@given(moments, makers, makers)
def test_two_makers_make_different_numbers_in_the_same_moment(
    now: float, first: int, other: int
) -> None:
    made = {changes.next_number(0, now=now, maker=maker) for maker in (first, other)}
    assert len(made) == len({first, other})


def test_a_later_life_and_another_replica_count_on() -> None:
    before = changes.next_number(0, now=1_800_000_000.0, maker=900)
    after = changes.next_number(0, now=1_800_000_000.01, maker=3)
    assert after > before


@given(moments, moments, makers)
def test_names_are_short_and_sort_like_numbers(first: float, other: float, maker: int) -> None:
    numbers = [changes.next_number(0, now=now, maker=maker) for now in (first, other)]
    names = [changes.name(number) for number in numbers]
    assert [len(name) for name in names] == [11, 11]
    assert (names[0] < names[1]) == (numbers[0] < numbers[1])
    assert (names[0] == names[1]) == (numbers[0] == numbers[1])


def test_no_change_has_no_name() -> None:
    assert changes.name(0) == ""
    assert changes.name(changes.next_number(0, now=1_763_900_000.0, maker=7)) == "0t8qh-2r007"


@given(moments, makers)
def test_a_name_leads_back_to_its_change(now: float, maker: int) -> None:
    made = changes.next_number(0, now=now, maker=maker)
    assert changes.number(changes.name(made)) == made
    assert changes.number("") == 0
