import asyncio
from collections.abc import AsyncIterator

import pytest

from libs.runtime import build
from services.agent import metrics, scrape
from services.agent.admin import Admin
from services.agent.http import server
from services.agent.http.server import Answer, Asked
from services.agent.scrape import ScrapeError, Scraper, Target

ENVOY = (
    b"# TYPE envoy_istio_requests_total counter\n"
    b'envoy_istio_requests_total{reporter="destination",path="envoy_istio_"} 3\n'
    b"# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\n"
)
REFUSED = frozenset({15020})


async def in_bad_pieces() -> AsyncIterator[bytes]:
    for start in range(0, len(ENVOY), 7):
        yield ENVOY[start : start + 7]


async def route(asked: Asked) -> Answer:
    if asked.path == "/stats/prometheus":
        return Answer(200, in_bad_pieces())
    if asked.path == "/metrics":
        assert "version=0.0.4" in asked.headers["accept"]
        return Answer(200, b"app_orders 7\n# EOF\n")
    return Answer(500)


async def page(application: Target | None = None, admin_port: int | None = None) -> str:
    async with server.serve("127.0.0.1", 0, route) as port:
        if application is not None and not application.port:
            application = Target(port, application.path)
        admin = Admin("127.0.0.1", admin_port or port)
        scraper = Scraper(admin, application, "127.0.0.1")
        async with asyncio.timeout(60):
            return b"".join([piece async for piece in scraper.page()]).decode()


async def test_standard_metrics_have_the_names_that_users_know() -> None:
    lines = (await page()).splitlines()
    assert "# TYPE istio_requests_total counter" in lines
    assert 'istio_requests_total{reporter="destination",path="envoy_istio_"} 3' in lines
    assert "envoy_server_live{} 1" in lines


async def test_what_the_agent_counts_itself_is_on_the_page() -> None:
    async with server.serve("127.0.0.1", 0, route) as port:
        admin = Admin("127.0.0.1", port)
        scraper = Scraper(admin, None, "127.0.0.1", counted=lambda: b"istio_bytes 3\n")
        async with asyncio.timeout(60):
            text = b"".join([piece async for piece in scraper.page()]).decode()
    assert "istio_bytes 3" in text.splitlines()
    assert "envoy_server_live" in text


async def test_a_page_of_the_proxy_alone_has_nothing_of_others() -> None:
    async with server.serve("127.0.0.1", 0, route) as port:
        target = Target(port)
        scraper = Scraper(
            Admin("127.0.0.1", port), target, "127.0.0.1", counted=lambda: b"istio_bytes 3\n"
        )
        async with asyncio.timeout(60):
            text = b"".join([piece async for piece in scraper.proxy_page()]).decode()
    assert "istio_bytes 3" in text.splitlines()
    assert "# TYPE istio_requests_total counter" in text.splitlines()
    assert "app_orders" not in text
    assert "istio_agent_" not in text


async def test_agent_envoy_and_application_are_on_one_page() -> None:
    text = await page(Target(0))
    assert text.index("istio_agent_") < text.index("envoy_server_live") < text.index("app_orders")
    assert "# EOF" not in text


async def test_an_application_or_envoy_that_fails_costs_only_its_part() -> None:
    text = await page(Target(0, "/broken"))
    assert "envoy_server_live" in text
    text = await page(Target(0), admin_port=1)
    assert "envoy_server_live" not in text
    assert "app_orders 7" in text
    assert 'istio_agent_scrape_failures_total{type="envoy"}' in await page()


def test_annotations_say_what_to_scrape() -> None:
    asked = '{"scrape":"true","port":"9090","path":"stats"}'
    assert scrape.target(asked, refused=REFUSED) == Target(9090, "/stats")
    assert scrape.target('{"scrape":"true"}', refused=REFUSED) == Target(80, "/metrics")
    assert scrape.target('{"scrape":"false","port":"1"}', refused=REFUSED) is None
    assert scrape.target("", refused=REFUSED) is None


@pytest.mark.parametrize(
    "wrong",
    [
        "{",
        '{"scrape":"true","port":"http"}',
        '{"scrape":"true","port":"15020"}',
        '{"scrape":"true","port":"0"}',
        "[1]",
    ],
)
def test_annotations_that_cannot_be_followed_are_refused(wrong: str) -> None:
    with pytest.raises(ScrapeError, match="ISTIO_PROMETHEUS_ANNOTATIONS"):
        scrape.target(wrong, refused=REFUSED)


def test_the_agent_says_its_version_as_istios_does() -> None:
    line = f'istio_build{{component="proxy",tag="{build.version()}"}} 1.0'
    assert line in metrics.render().decode()
