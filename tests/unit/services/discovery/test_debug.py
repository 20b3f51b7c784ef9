"""Discovery's debug pages: what they show, and who may read them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from libs.api.problem import Problem
from libs.kube.errors import TokenRefusedError, UnreachableError
from libs.model.ids import Ref
from libs.model.settings import MeshSettings
from libs.translate.state import initial
from services.discovery import debug
from services.discovery.analyst import Analyst
from services.discovery.debug import NamespaceOf, Readers
from services.discovery.feed import Feed
from services.discovery.problems import Problems

PAGES = ("registryz", "problems", "analysis")
PROBLEM = Problem(Ref("VirtualService/shop/web"), "spec.hosts", "NoHost", "there is no host")


async def _namespace_of(token: str) -> str:
    if token == "unknown":  # noqa: S105 - nobody's
        raise UnreachableError("the API server is away")
    namespaces = {"system": "istio-system", "shop": "shop"}
    if token not in namespaces:
        raise TokenRefusedError("nobody's")
    return namespaces[token]


@asynccontextmanager
async def _site(namespace_of: NamespaceOf | None = _namespace_of) -> AsyncIterator[str]:
    problems = Problems()
    problems.publish((PROBLEM,))
    readers = Readers("istio-system", namespace_of)
    analyst = Analyst(lambda: initial(MeshSettings()), lambda problem: problem)
    application = web.Application()
    application.add_routes(debug.routes(Feed(), problems, analyst=analyst, readers=readers))
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/debug/"
    finally:
        await runner.cleanup()


async def _statuses(url: str, token: str) -> list[int]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found = []
    async with aiohttp.ClientSession() as session:
        for page in PAGES:
            async with session.get(url + page, headers=headers) as answer:
                found.append(answer.status)
    return found


@pytest.fixture
def from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug, "is_loopback", lambda _: False)


@pytest.mark.usefixtures("from_afar")
@pytest.mark.parametrize(
    ("token", "expected"),
    [("", 401), ("forged", 401), ("unknown", 503), ("shop", 403), ("system", 200)],
)
async def test_only_the_system_namespace_may_read(token: str, expected: int) -> None:
    async with _site() as url:
        assert await _statuses(url, token) == [expected] * len(PAGES)


@pytest.mark.parametrize(("token", "expected"), [("forged", 401), ("shop", 403), ("system", 200)])
async def test_who_shows_a_token_is_judged_by_it_on_this_machine_too(
    token: str, expected: int
) -> None:
    async with _site() as url:
        assert await _statuses(url, token) == [expected] * len(PAGES)


async def test_on_this_machine_everything_can_be_read() -> None:
    async with _site() as url, aiohttp.ClientSession() as session:
        assert await _statuses(url, "") == [200] * len(PAGES)
        async with session.get(url + "problems") as answer:
            (found,) = await answer.json()
    assert (found["ref"], found["severity"]) == (PROBLEM.ref, "error")


@pytest.mark.usefixtures("from_afar")
async def test_without_a_cluster_no_token_counts() -> None:
    async with _site(None) as url:
        assert await _statuses(url, "system") == [403] * len(PAGES)
        assert await _statuses(url, "") == [401] * len(PAGES)
