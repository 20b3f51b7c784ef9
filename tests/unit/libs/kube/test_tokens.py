"""What a TokenReview says, and when it is asked for; the real answers are in tests/apiserver."""

from collections.abc import Callable
from typing import Any

import pytest

from libs.kube import tokens
from libs.kube.client import Client
from libs.kube.errors import KubeError, ServerError, TokenRefusedError, UnreachableError
from libs.kube.tokens import Bearer, Reviewer, read
from libs.model.ids import SpiffeId
from libs.pki import keys
from tests.support.clock import VirtualClock
from tests.support.tokens import changed, honest

KEY = keys.generate()
BOB = SpiffeId("cluster.local", "shop", "bob")
EXTRA = "authentication.kubernetes.io/"


def answer(**changes: Any) -> dict[str, Any]:  # noqa: ANN401  # JSON
    extra = {
        f"{EXTRA}pod-name": ["web-1"],
        f"{EXTRA}pod-uid": ["7e1f"],
        f"{EXTRA}node-name": ["node-1"],
    }
    user = {"username": "system:serviceaccount:shop:bob", "uid": "1", "extra": extra}
    status = {"authenticated": True, "audiences": ["istio-ca"], "user": user}
    return {"status": status | changes}


def user(**changes: Any) -> dict[str, Any]:  # noqa: ANN401
    return answer(user=answer()["status"]["user"] | changes)


def test_a_good_answer_names_account_pod_and_node() -> None:
    assert read(answer(), "istio-ca") == Bearer("shop", "bob", "1", "web-1", "7e1f", "node-1")


@pytest.mark.parametrize(
    "review",
    [
        answer(authenticated=False),
        answer(authenticated="true"),
        answer(authenticated=None),
        answer(audiences=[]),
        answer(audiences=None),  # a server that does not know of audiences
        answer(audiences=["other"]),
        answer(user=None),
        user(username="admin"),
        user(username="system:serviceaccount:shop"),
        user(username="system:serviceaccount::bob"),
        user(username="system:node:bob"),
        user(uid=""),
        user(extra={f"{EXTRA}pod-name": ["web-1"]}),
        user(extra={f"{EXTRA}pod-name": ["a", "b"], f"{EXTRA}pod-uid": ["1", "2"]}),
        {},
        [],
        None,
        "OK",
    ],
)
def test_any_other_answer_proves_nobody(review: object) -> None:
    with pytest.raises(TokenRefusedError):
        read(review, "istio-ca")


class Server(Client):
    """An API server that answers as it is told, and counts."""

    def __init__(self, reply: Callable[[], Any]) -> None:
        self.reply = reply
        self.asked = 0

    async def request(self, *_: Any, **__: Any) -> Any:  # noqa: ANN401
        self.asked += 1
        return self.reply()


@pytest.fixture(name="clock")
def virtual_clock() -> VirtualClock:
    return VirtualClock()


def token(clock: VirtualClock, *, lifetime: float = 3600) -> str:
    made = honest(BOB, KEY, clock.now())
    return changed(made, KEY, exp=int(clock.now() + lifetime))


async def test_an_answer_is_good_for_a_few_seconds(clock: VirtualClock) -> None:
    server = Server(answer)
    reviewer, shown = Reviewer(server, clock=clock), token(clock)
    for _ in range(3):
        assert (await reviewer.review(shown)).pod == "web-1"
    assert server.asked == 1
    await clock.advance(tokens.KEEP_SECONDS + 0.1)
    await reviewer.review(shown)
    assert server.asked == 2


async def test_no_answer_outlives_its_token(clock: VirtualClock) -> None:
    server = Server(answer)
    reviewer, shown = Reviewer(server, clock=clock), token(clock, lifetime=3)
    await reviewer.review(shown)
    await clock.advance(3.1)
    server.reply = lambda: answer(authenticated=False)
    with pytest.raises(TokenRefusedError):
        await reviewer.review(shown)


async def test_a_refusal_is_kept_shortly_and_each_token_has_its_own(clock: VirtualClock) -> None:
    server = Server(lambda: answer(authenticated=False))
    reviewer, shown = Reviewer(server, clock=clock), token(clock)
    for _ in range(3):
        with pytest.raises(TokenRefusedError):
            await reviewer.review(shown)
    assert server.asked == 1
    server.reply = answer
    assert (await reviewer.review(token(clock, lifetime=60))).pod == "web-1"
    await clock.advance(tokens.KEEP_REFUSED_SECONDS + 0.1)
    assert (await reviewer.review(shown)).pod == "web-1"


async def test_a_token_without_a_pod_is_good_for_accounts_of_machines(clock: VirtualClock) -> None:
    asked: list[tuple[str, str]] = []

    async def for_machines(namespace: str, account: str) -> bool:
        asked.append((namespace, account))
        return allowed

    allowed, shown = False, token(clock)
    server = Server(lambda: user(extra={}))
    with pytest.raises(TokenRefusedError, match="not bound to a pod"):
        await Reviewer(server, clock=clock).review(shown)
    with pytest.raises(TokenRefusedError, match="not bound to a pod"):
        await Reviewer(server, clock=clock, for_machines=for_machines).review(shown)
    allowed = True
    found = await Reviewer(server, clock=clock, for_machines=for_machines).review(shown)
    assert (found.namespace, found.service_account, found.pod) == ("shop", "bob", "")
    assert asked == [("shop", "bob")] * 2


@pytest.mark.parametrize("error", [UnreachableError("x"), ServerError(500, "x", "x")])
async def test_no_answer_is_neither_a_yes_nor_a_no(error: KubeError, clock: VirtualClock) -> None:
    def fail() -> None:
        raise error

    server = Server(fail)
    reviewer, shown = Reviewer(server, clock=clock), token(clock)
    with pytest.raises(type(error)):
        await reviewer.review(shown)
    server.reply = answer
    assert (await reviewer.review(shown)).pod == "web-1"


@pytest.mark.parametrize(
    "make",
    [
        lambda _: "",
        lambda _: "a.b",
        lambda _: "a.b.c",
        lambda it: it + ".d",
        lambda it: changed(it, KEY, aud=["other"]),
        lambda it: changed(it, KEY, aud=None),
        lambda it: changed(it, KEY, exp=1),
        lambda it: changed(it, KEY, exp=None),
        lambda it: changed(it, KEY, filler="x" * 8192),
        lambda _: "e30." + "W" * 4000 + ".x",
    ],
)
async def test_what_does_not_claim_to_be_good_is_not_asked_about(
    make: Callable[[str], str], clock: VirtualClock
) -> None:
    server = Server(answer)
    with pytest.raises(TokenRefusedError):
        await Reviewer(server, clock=clock).review(make(token(clock)))
    assert server.asked == 0
