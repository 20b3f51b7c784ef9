from libs.runtime.tasks import background
from services.agent.admin import Admin
from services.agent.drain import Drain, DrainRules, active
from services.agent.http.client import HttpError
from services.agent.readiness import Readiness
from tests.support.clock import VirtualClock

INBOUND = "listener.0.0.0.0_15006.downstream_cx_active"


class FakeAdmin(Admin, frozen=True):
    """Notes what is posted; connections are what the test writes, None fails."""

    posted: list[str] = []
    connections: list[int | None] = []

    async def post(self, target: str) -> None:
        self.posted.append(target)

    async def stats(self, pattern: str) -> dict[str, int]:
        assert pattern
        count = self.connections.pop(0)
        if count is None:
            message = "gone"
            raise HttpError(message)
        return {INBOUND: count}


async def drained_after(
    admin: FakeAdmin, rules: DrainRules, clock: VirtualClock
) -> tuple[float, Readiness]:
    readiness = Readiness(admin)
    drain = Drain(admin, readiness, rules, clock=clock)
    ended: list[float] = []

    async def finish() -> None:
        await drain.finish()
        ended.append(clock.monotonic())

    async with background(finish()):
        await clock.advance(60.0)
    return ended[0], readiness


async def test_a_sidecar_keeps_its_way_out_open_and_waits() -> None:
    admin = FakeAdmin("a", 1)
    after, readiness = await drained_after(admin, DrainRules(seconds=5.0), VirtualClock())
    assert admin.posted == ["/drain_listeners?inboundonly&graceful"]
    assert after == 5.0
    assert readiness.leaving


async def test_a_gateway_drains_all_its_listeners() -> None:
    admin = FakeAdmin("a", 1)
    await drained_after(admin, DrainRules(sidecar=False), VirtualClock())
    assert admin.posted == ["/drain_listeners?graceful"]


async def test_it_can_wait_until_nobody_is_connected() -> None:
    admin = FakeAdmin("a", 1, connections=[2, 1, None, 0])
    rules = DrainRules(until_idle=True, minimum=3.0)
    after, _ = await drained_after(admin, rules, VirtualClock())
    assert after == 6.0


async def test_an_envoy_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    admin = FakeAdmin("a", 1, connections=[None] * 5)
    rules = DrainRules(until_idle=True, minimum=0.0)
    after, _ = await drained_after(admin, rules, VirtualClock())
    assert after <= 5.0


async def test_after_a_hook_drained_the_end_does_not_wait_again() -> None:
    admin, clock = FakeAdmin("a", 1), VirtualClock()
    drain = Drain(admin, Readiness(admin), DrainRules(seconds=5.0), clock=clock)
    async with background(drain.before_stop()):
        await clock.advance(5.0)
    await drain.finish()
    assert clock.monotonic() == 5.0
    assert admin.posted == ["/drain_listeners?inboundonly&graceful&skip_exit"]


def test_only_connections_of_users_count() -> None:
    stats = {
        INBOUND: 2,
        "listener.0.0.0.0_15006.worker_0.downstream_cx_active": 2,
        "listener.[__]_15006.downstream_cx_active": 1,
        "listener.0.0.0.0_15021.downstream_cx_active": 4,
        "listener.admin.downstream_cx_active": 8,
        "listener.admin.main_thread.downstream_cx_active": 8,
    }
    assert active(stats, frozenset({15021, 15090})) == 3
