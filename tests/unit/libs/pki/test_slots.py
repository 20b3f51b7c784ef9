import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.pki import slots
from libs.pki.slots import DAY, Slot, Slots

YEAR = 365 * DAY
FIRST = Slot("first", 0.0, YEAR)
SECOND = Slot("second", YEAR - 30 * DAY, 2 * YEAR)
PREPARED = Slots(FIRST, next=SECOND)


def test_a_long_life_prepares_30_days_and_activates_7_days_before_its_end() -> None:
    assert not slots.should_prepare(Slots(FIRST), YEAR - 30 * DAY - 1)
    assert slots.should_prepare(Slots(FIRST), YEAR - 30 * DAY)
    assert not slots.should_activate(PREPARED, YEAR - 7 * DAY - 1, trusted_by_all=True)
    assert slots.should_activate(PREPARED, YEAR - 7 * DAY, trusted_by_all=True)


def test_a_short_life_prepares_at_half_and_activates_in_the_last_sixth() -> None:
    short = Slot("short", 0.0, 6000.0)
    coming = Slots(short, next=Slot("coming", 3000.0, 9000.0))
    assert not slots.should_prepare(Slots(short), 2999.0)
    assert slots.should_prepare(Slots(short), 3000.0)
    assert not slots.should_activate(coming, 4999.0, trusted_by_all=True)
    assert slots.should_activate(coming, 5000.0, trusted_by_all=True)


def test_nobody_signs_before_everybody_trusts_it() -> None:
    assert not slots.should_activate(PREPARED, YEAR - 1, trusted_by_all=False)
    assert slots.should_activate(PREPARED, YEAR, trusted_by_all=False)  # nobody else can


def test_only_one_longer_lived_authority_is_next() -> None:
    with pytest.raises(ValueError, match="only one"):
        slots.prepare(PREPARED, Slot("third", 0.0, 3 * YEAR))
    with pytest.raises(ValueError, match="lives longer"):
        slots.prepare(Slots(FIRST), Slot("shorter", 0.0, YEAR))
    assert not slots.should_prepare(PREPARED, YEAR)
    with pytest.raises(ValueError, match="no next"):
        slots.activate(Slots(FIRST), last_leaf=0.0)
    assert not slots.should_activate(Slots(FIRST), 2 * YEAR, trusted_by_all=True)


def test_an_old_root_is_trusted_until_a_day_after_its_last_certificate() -> None:
    now = YEAR - 7 * DAY
    after = slots.activate(PREPARED, last_leaf=now + DAY)
    assert after.current == SECOND
    assert after.trusted == ("first", "second")
    assert not slots.should_retire(after, now + 2 * DAY - 1)
    assert slots.should_retire(after, now + 2 * DAY)
    assert slots.retire(after, now + 2 * DAY - 1) == after
    assert slots.retire(after, now + 2 * DAY).trusted == ("second",)


@given(
    life=st.floats(DAY, 10 * YEAR),
    leaf=st.floats(600.0, DAY),
    proof_takes=st.floats(0.0, 10 * DAY),
    steps=st.integers(50, 400),
)
def test_over_any_timeline_there_is_a_trusted_signer(
    life: float, leaf: float, proof_takes: float, steps: int
) -> None:
    """Walk three lives: whoever signed a certificate that still lives is always in the bundle."""
    state = Slots(Slot("0", 0.0, life))
    made, prepared_at = 0, 0.0
    signed: dict[str, float] = {}
    for step in range(steps):
        now = step * 3 * life / steps
        if slots.should_prepare(state, now):
            made, prepared_at = made + 1, now
            state = slots.prepare(state, Slot(str(made), now, now + life))
        if slots.should_activate(state, now, trusted_by_all=now - prepared_at >= proof_takes):
            state = slots.activate(state, last_leaf=signed.get(state.current.id, now))
        if slots.should_retire(state, now):
            state = slots.retire(state, now)
        if now < state.current.not_after:
            signed[state.current.id] = min(now + leaf, state.current.not_after)
        alive = {identifier for identifier, end in signed.items() if end > now}
        assert alive <= set(state.trusted)
