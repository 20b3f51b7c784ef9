"""Bodies that anybody can send to the webhook's port: none is a decision, none holds up the others.

The webhook is the real one behind a real API server; the bodies come past that, as from a pod that
reaches the port. Meanwhile honest reviews are asked at both paths.
"""

import itertools
import ssl
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from statistics import quantiles

import pytest

from libs.runtime.tasks import background
from services.webhook.bodies import Bodies
from tests.support import kube_accounts as kube
from tests.support import review_bodies
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_webhook import RunningWebhook, running_webhook
from tests.support.review_bodies import Becomes, Case

PATHS = ("/inject", "/validate")
NAME = "localhost"
HONEST = Case(
    name="honest",
    body=review_bodies.review(),
    inject=frozenset({Becomes.PATCHED}),
    validate=frozenset({Becomes.ALLOWED}),
)
ROOM = 64 * 1024
"""KiB that the process may grow by while it is attacked: client and server are both in it."""


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="webhook")
async def webhook_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[RunningWebhook]:
    async with (
        kube.client_of(server, tmp_path) as client,
        running_webhook(server, tmp_path, client) as webhook,
    ):
        await webhook.label("on", {"istio-injection": "enabled"})
        yield webhook


def _peak(*, anew: bool = False) -> int:
    """Return the most KiB that this process has held since the last time it was asked `anew`."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1])
    raise AssertionError


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


class Attack:
    """Cases sent one after another at both paths, and honest reviews beside them."""

    def __init__(self, webhook: RunningWebhook) -> None:
        self._webhook = webhook
        self.wrong: list[str] = []
        self.slowest = 0.0
        self.honest: list[float] = []
        self.growth = 0

    async def run(self, cases: Sequence[Case]) -> None:
        before = _peak(anew=True)
        async with background(self._be_honest()):
            for case, path in itertools.product(cases, PATHS):
                became, seconds = await self._ask(path, case)
                if became not in _expected(case, path):
                    self.wrong.append(f"{case.name} at {path}: {became}")
                if case.name != review_bodies.SLOW:
                    self.slowest = max(self.slowest, seconds)
        self.growth = _peak() - before

    def said(self, what: str, count: int) -> None:
        """Print the figures."""
        p99 = quantiles(self.honest, n=100)[98] if len(self.honest) > 1 else 0.0
        sys.stdout.write(
            f"{what}: {count} bodies at {len(PATHS)} paths, wrong answers {len(self.wrong)}, "
            f"slowest {self.slowest:.2f} s, {self.growth / 1024:.0f} MiB more; "
            f"{len(self.honest)} honest reviews meanwhile, p99 {p99 * 1e3:.0f} ms\n"
        )

    async def _be_honest(self) -> None:
        while True:
            for path in PATHS:
                became, seconds = await self._ask(path, HONEST)
                if became not in _expected(HONEST, path):
                    self.wrong.append(f"an honest review at {path}: {became}")
                self.honest.append(seconds)

    async def _ask(self, path: str, case: Case) -> tuple[Becomes, float]:
        started = time.perf_counter()
        port = self._webhook.bound.https
        found = await review_bodies.send(port, _context(), path, case, server_name=NAME)
        return review_bodies.became(found), time.perf_counter() - started


def _expected(case: Case, path: str) -> frozenset[Becomes]:
    return case.inject if path == "/inject" else case.validate


async def test_what_is_no_review_is_never_a_decision(webhook: RunningWebhook) -> None:
    cases = [*review_bodies.no_reviews()]
    attack = Attack(webhook)
    await attack.run(cases)
    attack.said("no reviews", len(cases))
    assert attack.wrong == []
    assert attack.growth < ROOM
    assert len(attack.honest) > len(cases)


async def test_odd_reviews_are_decided_and_break_nothing(webhook: RunningWebhook) -> None:
    cases = [*review_bodies.odd_reviews()]
    attack = Attack(webhook)
    await attack.run(cases)
    attack.said("odd reviews", len(cases))
    assert attack.wrong == []
    assert attack.growth < ROOM


async def test_the_negative_control_a_port_without_a_limit_takes_all_that_comes(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Bodies.__init__, "__kwdefaults__", {"max_bytes": 1 << 40, "seconds": 5.0, "at_once": 32}
    )
    async with (
        kube.client_of(server, tmp_path) as client,
        running_webhook(server, tmp_path, client) as webhook,
    ):
        await webhook.label("on", {"istio-injection": "enabled"})
        attack = Attack(webhook)
        await attack.run([review_bodies.large(4 * ROOM * 1024)])
    assert attack.growth > ROOM
