import pytest

from services.agent.admin import Admin
from services.agent.http.server import Asked
from services.agent.probes import Prober
from services.agent.readiness import Readiness
from services.agent.scrape import CONTENT_TYPE, Scraper
from services.agent.status import Status


class Pod:
    """A status port whose readiness the test decides, and what it was told to do."""

    def __init__(self) -> None:
        self.waiting = "warming up"
        self.done: list[str] = []
        admin = Admin("127.0.0.1", 1)
        self.status = Status(
            readiness=FakeReadiness(self),
            scraper=Scraper(admin, None, "127.0.0.1"),
            prober=Prober({}, "127.0.0.1"),
            drain=self._drain,
            quit_now=lambda: self.done.append("quit"),
            became_ready=lambda: self.done.append("ready"),
            names=lambda: b"{}",
        )

    async def _drain(self) -> None:
        self.done.append("drained")

    async def ask(self, path: str, method: str = "GET", *, local: bool = True) -> tuple[int, str]:
        answer = await self.status.route(Asked(method, path, "", {}, local=local))
        body = answer.body
        return answer.status, body.decode() if isinstance(body, bytes) else answer.content_type


class FakeReadiness(Readiness):
    def __init__(self, pod: Pod) -> None:
        super().__init__(Admin("127.0.0.1", 1))
        self._pod = pod

    async def waiting_for(self) -> str:
        return self._pod.waiting


@pytest.fixture
def pod() -> Pod:
    return Pod()


async def test_readiness_says_why_not(pod: Pod) -> None:
    assert await pod.ask("/healthz/ready") == (503, "warming up\n")
    assert pod.done == []
    pod.waiting = ""
    assert await pod.ask("/healthz/ready") == (200, "ready\n")
    assert await pod.ask("/healthz/ready") == (200, "ready\n")
    assert pod.done == ["ready"]


async def test_only_the_pod_itself_may_end_it(pod: Pod) -> None:
    for path in ("/quitquitquit", "/drain"):
        assert (await pod.ask(path, "POST", local=False))[0] == 403
        assert (await pod.ask(path, "GET"))[0] == 405
    assert pod.done == []
    assert (await pod.ask("/quitquitquit", "POST"))[0] == 200
    assert (await pod.ask("/drain", "POST"))[0] == 200
    assert pod.done == ["quit", "drained"]


async def test_metrics_are_on_each_of_their_paths(pod: Pod) -> None:
    for path in ("/metrics", "/stats/prometheus", "/stats/proxy"):
        assert await pod.ask(path) == (200, CONTENT_TYPE)


async def test_names_are_shown_inside_the_pod_alone(pod: Pod) -> None:
    assert await pod.ask("/debug/ndsz") == (200, "{}")
    assert (await pod.ask("/debug/ndsz", local=False))[0] == 403


async def test_other_pages_are_not_there(pod: Pod) -> None:
    assert (await pod.ask("/debug"))[0] == 404
    assert (await pod.ask("/app-health/web/livez"))[0] == 404
