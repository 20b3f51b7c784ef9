import pytest

from libs.pki.errors import LifetimeError
from libs.pki.template import Lifetimes, Template, plan
from tests.support.pki import BOB, NOW

HOUR, DAY = 3600, 86_400
LONG = (NOW - DAY, NOW + 3650 * DAY)


def planned(requested: int, signer: tuple[float, float] = LONG, now: float = NOW) -> Template:
    return plan(BOB, requested=requested, lifetimes=Lifetimes(), signer=signer, now=now)


@pytest.mark.parametrize(
    ("requested", "seconds"),
    [(0, DAY), (-1, DAY), (-(2**63), DAY), (60, 60), (HOUR, HOUR), (90 * DAY, 90 * DAY)],
)
def test_lifetime(requested: int, seconds: int) -> None:
    made = planned(requested)
    assert made.not_after == NOW + seconds
    assert made.not_before == NOW - 120


@pytest.mark.parametrize("requested", [90 * DAY + 1, 91 * DAY, 2**63 - 1])
def test_too_much_is_refused_and_not_shortened(requested: int) -> None:
    with pytest.raises(LifetimeError):
        planned(requested)


def test_no_certificate_outlives_its_signer() -> None:
    made = planned(DAY, signer=(NOW - DAY, NOW + HOUR))
    assert made.not_after == NOW + HOUR


def test_no_certificate_begins_before_its_signer() -> None:
    assert planned(0, signer=(NOW - 5, NOW + 3650 * DAY)).not_before == NOW - 5


@pytest.mark.parametrize("left", [-DAY, -1, 0, 59])
def test_an_expired_signer_signs_nothing(left: int) -> None:
    with pytest.raises(LifetimeError):
        planned(DAY, signer=(NOW - DAY, NOW + left))


def test_a_signer_of_the_future_signs_nothing() -> None:
    with pytest.raises(LifetimeError):
        planned(DAY, signer=(NOW + 600, NOW + DAY))
