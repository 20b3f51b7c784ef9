import math
from collections.abc import Sequence

import pytest
from prometheus_client import REGISTRY

from libs.model.ids import SpiffeId
from libs.pki import authority, bundle, csr, sign, template
from libs.rpc.errors import CaError, NotReadyError
from libs.rpc.svid import Functions, Svid
from libs.rpc.tls import Material
from libs.runtime.backoff import Backoff
from libs.runtime.tasks import background
from tests.support.clock import VirtualClock

BOB = SpiffeId("cluster.local", "shop", "bob")
DAY, BACKDATED = 86_400, 120


class Ca:
    """A CA with real keys, whose absence a test decides."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._authority = authority.generate("test", now=clock.now())
        self.away = False
        self.asked: list[float] = []

    async def sign(self, request: bytes) -> Sequence[str]:
        self.asked.append(self._clock.now())
        if self.away:
            message = "away"
            raise CaError(message)
        now = self._clock.now()
        planned = template.plan(
            BOB,
            requested=DAY,
            lifetimes=template.Lifetimes(),
            signer=self._authority.validity,
            now=now,
        )
        key = csr.public_key(request)
        return [
            pem.decode() for pem in sign.issue(planned, key, authority=self._authority, now=now)
        ]


@pytest.fixture(name="clock")
def virtual_clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(name="ca")
def certificate_authority(clock: VirtualClock) -> Ca:
    return Ca(clock)


def svid_of(ca: Ca, clock: VirtualClock, chance: float = 0.5) -> Svid:
    functions = Functions(csr.make_with_key, bundle.validity, ca.sign)
    backoff = Backoff(first=1.0, factor=2.0, limit=60.0)
    return Svid(functions, clock=clock, backoff=backoff, chance=lambda: chance)


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.45), (0.5, 0.5), (1.0, 0.55)])
async def test_it_is_renewed_at_half_of_its_life(
    chance: float, share: float, ca: Ca, clock: VirtualClock
) -> None:
    svid = svid_of(ca, clock, chance)
    seen: list[Material] = []
    svid.on_change(seen.append)
    async with background(svid.run()):
        await svid.ready()
        first = svid.material
        due = (DAY + BACKDATED) * share - BACKDATED
        await clock.advance(due - 1)
        assert svid.material is first
        await clock.advance(2)
        second = svid.material
        await clock.advance(10 * DAY)
    assert second.key != first.key
    assert second.not_after == pytest.approx(first.not_after + due, abs=2)
    assert seen[:2] == [first, second]
    assert len(seen) >= 10 / 0.55
    gaps = {round(after - before) for before, after in zip(ca.asked, ca.asked[1:], strict=False)}
    assert gaps == {round(due)}


async def test_the_old_one_serves_while_the_ca_is_away(ca: Ca, clock: VirtualClock) -> None:
    svid = svid_of(ca, clock, chance=1.0)
    async with background(svid.run()):
        await svid.ready()
        first = svid.material
        ca.away = True
        await clock.advance(DAY * 0.55)
        ca.asked.clear()
        await clock.advance(7)
        assert svid.material is first
        ca.away = False
        await clock.advance(60)
        assert svid.material is not first
    assert svid.material.not_after > first.not_after


async def test_attempts_back_off(ca: Ca, clock: VirtualClock) -> None:
    ca.away = True
    svid = svid_of(ca, clock, chance=1.0)
    start = clock.now()
    async with background(svid.run()):
        await clock.advance(200)
    assert [at - start for at in ca.asked] == [0, 1, 3, 7, 15, 31, 63, 123, 183]


async def test_before_the_first_there_is_nothing_to_show(ca: Ca, clock: VirtualClock) -> None:
    svid = svid_of(ca, clock)
    with pytest.raises(NotReadyError):
        _ = svid.material
    with pytest.raises(NotReadyError):
        svid.server_credentials(mutual=True)


async def test_it_can_be_renewed_before_it_is_due(ca: Ca, clock: VirtualClock) -> None:
    svid = svid_of(ca, clock)
    async with background(svid.run()):
        await svid.ready()
        first = svid.material
        svid.renew_now()
        await clock.advance(1)
        assert svid.material is not first
        second = svid.material
        await clock.advance(3600)
        assert svid.material is second


async def test_how_much_of_its_life_is_left_is_told(ca: Ca, clock: VirtualClock) -> None:
    svid = svid_of(ca, clock)
    assert math.isnan(svid.life_left())
    async with background(svid.run()):
        await svid.ready()
        assert svid.life_left() == pytest.approx(1.0, abs=0.01)
        ca.away = True
        for share in (0.5, 0.2, 0.05, -0.1):
            away = svid.life_left() - share
            await clock.advance(away * (DAY + BACKDATED))
            assert REGISTRY.get_sample_value("seine_certificate_life_left") == pytest.approx(share)
