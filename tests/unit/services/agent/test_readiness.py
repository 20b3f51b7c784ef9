from services.agent.admin import Admin
from services.agent.http.client import HttpError
from services.agent.readiness import Readiness

READY = {
    "cluster_manager.cds.update_success": 1,
    "listener_manager.lds.update_success": 1,
    "listener_manager.workers_started": 1,
    "server.state": 0,
}


class FakeAdmin(Admin, frozen=True):
    """An Envoy whose statistics the test writes; None: it does not answer."""

    answers: list[dict[str, int] | None] = []

    async def stats(self, pattern: str) -> dict[str, int]:
        assert pattern
        answer = self.answers.pop(0)
        if answer is None:
            message = "connection refused"
            raise HttpError(message)
        return answer


def readiness(*answers: dict[str, int] | None) -> Readiness:
    return Readiness(FakeAdmin("127.0.0.1", 1, list(answers)))


async def test_ready_once_configured_live_and_working() -> None:
    assert await readiness(READY).waiting_for() == ""


async def test_every_missing_part_is_named() -> None:
    for missing, said in (
        ("cluster_manager.cds.update_success", "cds updates: 0 successful"),
        ("listener_manager.lds.update_success", "lds updates: 0 successful"),
        ("listener_manager.workers_started", "workers"),
        ("server.state", "not live"),
    ):
        stats = {name: value for name, value in READY.items() if name != missing}
        assert said in await readiness(stats).waiting_for()
    assert "not up" in await readiness(None).waiting_for()


async def test_a_refused_first_configuration_is_counted() -> None:
    stats = {**READY, "listener_manager.lds.update_success": 0}
    stats["listener_manager.lds.update_rejected"] = 3
    assert "3 rejected" in await readiness(stats).waiting_for()


async def test_what_was_true_once_is_not_asked_again_until_envoy_restarts() -> None:
    tested = readiness(READY, {"server.state": 0}, {"server.state": 0})
    assert await tested.waiting_for() == ""
    assert await tested.waiting_for() == ""
    tested.restarted()
    assert "config not received" in await tested.waiting_for()


async def test_a_pod_whose_agent_answers_queries_must_know_names() -> None:
    known: list[str] = []
    admin = FakeAdmin("127.0.0.1", 1, [READY])
    tested = Readiness(admin, names_known=lambda: bool(known))
    assert "names for dns" in await tested.waiting_for()
    known.append("web")
    assert await tested.waiting_for() == ""


async def test_a_draining_envoy_and_a_leaving_pod_are_not_ready() -> None:
    tested = readiness(READY, {"server.state": 1})
    assert await tested.waiting_for() == ""
    assert "not live" in await tested.waiting_for()
    tested.leaving = True
    assert "leaving" in await tested.waiting_for()
