from services.discovery.numbering import Numbering
from tests.support.clock import VirtualClock

BUSY = 5000


async def test_changes_of_one_instant_have_numbers_of_their_own() -> None:
    numbering = Numbering(VirtualClock(1_800_000_000.0))
    found = [numbering() for _ in range(BUSY)]
    assert sorted(set(found)) == found


async def test_a_restarted_process_never_gives_a_number_again() -> None:
    clock = VirtualClock(1_800_000_000.0)
    before = [Numbering(clock, maker=1)() for _ in range(1)]
    await clock.advance(0.5)
    after = Numbering(clock, maker=1)()
    assert after > max(before)
