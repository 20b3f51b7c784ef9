"""Metrics under Istio's names: writing webhook configurations, and what is no review."""

from typing import Any, cast

import aiohttp
import msgspec
import pytest
from aiohttp import web
from prometheus_client import REGISTRY

from libs.kube.client import Client
from libs.kube.errors import ForbiddenError, NotFoundError, UnreachableError
from libs.kube.follow import Change
from libs.kube.list import Name
from libs.runtime.backoff import Backoff
from libs.runtime.clock import SystemClock
from services.webhook import authorities
from services.webhook.authorities import VALIDATING, Authorities
from services.webhook.bodies import Bodies
from services.webhook.endpoint import endpoint
from services.webhook.review import Question, Verdict
from tests.support.certificates import TestAuthority

ROOTS = TestAuthority().issue("any").roots


class Server:
    """Answers patches with what it was given, in order, and then with success."""

    def __init__(self, *answers: Exception) -> None:
        self._answers = list(answers)

    async def request(
        self,
        method: str,
        path: str,
        **written: Any,  # noqa: ANN401  # JSON
    ) -> dict[str, object]:
        del method, path
        if self._answers:
            raise self._answers.pop(0)
        return {"webhooks": [_webhook(written["body"][-1]["value"])]}


def _webhook(bundle: str) -> dict[str, object]:
    service = {"name": "istiod", "namespace": "istio-system"}
    return {"name": "v.istio.io", "clientConfig": {"caBundle": bundle, "service": service}}


def value(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


async def _written(name: str, *answers: Exception) -> None:
    """Return once a configuration of that name was dealt with."""
    client = cast("Client", Server(*answers))
    found = Authorities(client, frozenset({("istio-system", "istiod")}), SystemClock())
    raw = msgspec.Raw(msgspec.json.encode({"webhooks": [_webhook("")]}))
    await found.sink(VALIDATING)([Change(Name("", name), raw)])
    await found.announce(ROOTS)


async def test_what_is_written_is_counted() -> None:
    before = value("galley_validation_config_updates")
    await _written("good")
    assert value("galley_validation_config_updates") == before + 1
    assert value("webhook_patch_attempts_total", name="good") == 1
    assert value("webhook_patch_retries_total", name="good") == 0


async def test_an_attempt_without_an_answer_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(authorities, "BACKOFF", Backoff(first=0.001, limit=0.001))
    await _written("late", UnreachableError("nobody"))
    assert value("webhook_patch_attempts_total", name="late") == 2
    assert value("webhook_patch_retries_total", name="late") == 1


@pytest.mark.parametrize(
    ("error", "reason"), [(ForbiddenError, "forbidden"), (NotFoundError, "moved")]
)
async def test_what_cannot_be_written_is_counted_by_reason(error: type, reason: str) -> None:
    errors = value("galley_validation_config_update_error", reason=reason)
    await _written(reason, error(403, "No", "no"))
    assert value("webhook_patch_failures_total", name=reason, reason=reason) == 1
    assert value("galley_validation_config_update_error", reason=reason) == errors + 1


async def test_what_is_no_review_is_counted_for_validation_alone() -> None:
    async def allow(question: Question, path: str) -> Verdict:
        del question, path
        return Verdict()

    application = web.Application()
    handler = endpoint(allow, Bodies())
    application.add_routes([web.post(path, handler) for path in ("/inject", "/validate")])
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(url) as client:
            for path, times in (("/inject", 0), ("/validate", 1)):
                before = value("galley_validation_http_error", status="415")
                answer = await client.post(path, data=b"{}", headers={"Content-Type": "text/plain"})
                assert answer.status == 415
                assert value("galley_validation_http_error", status="415") == before + times
    finally:
        await runner.cleanup()
