"""Events are written once for a reason, few wait, and none holds anybody up."""

import pytest

from libs.kube import access
from libs.kube.client import Client
from services.webhook.injection.events import (
    AGAIN_SECONDS,
    QUEUE,
    Events,
    Notice,
    Regarding,
    owner,
)
from tests.support.clock import VirtualClock
from tests.support.pods import pod


def _events(clock: VirtualClock) -> Events:
    return Events(Client(access.load("/nowhere")), clock)


def _notice(name: str = "web", reason: str = "NotInjected") -> Notice:
    return Notice(Regarding("ReplicaSet", name, "shop"), reason, "text")


async def test_the_same_is_told_again_only_after_a_while() -> None:
    clock = VirtualClock()
    events = _events(clock)
    for _ in range(5):
        events.tell(_notice())
    events.tell(_notice(reason="Other"))
    events.tell(_notice("other"))
    assert events._queue.qsize() == 3
    await clock.advance(AGAIN_SECONDS + 1)
    events.tell(_notice())
    assert events._queue.qsize() == 4


async def test_what_somebody_chose_is_told_once() -> None:
    clock = VirtualClock()
    events = _events(clock)
    chosen = Notice(_notice().about, "NotInjected", "text", warning=False)
    for _ in range(2):
        assert events.tell(chosen)
        await clock.advance(AGAIN_SECONDS + 1)
    assert events._queue.qsize() == 1


async def test_rollouts_of_one_deployment_are_the_same_to_whoever_reads() -> None:
    events = _events(VirtualClock())
    for made in ("web-5d4f8b7c9", "web-6b8f9c7d5"):
        given = pod()
        given["metadata"]["ownerReferences"][0]["name"] = made
        given["metadata"]["labels"]["pod-template-hash"] = made.removeprefix("web-")
        events.tell(Notice(owner(given, "shop"), "NotInjected", "text"))
    assert events._queue.qsize() == 1


def test_what_is_too_much_is_dropped() -> None:
    events = _events(VirtualClock())
    for at in range(QUEUE + 50):
        assert events.tell(_notice(f"w{at}")) is (at < QUEUE)
    assert events._queue.qsize() == QUEUE
    assert len(events._told) == QUEUE  # what was dropped may be told later


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [
        (pod(), "ReplicaSet", "web-5d4f8b7c9"),
        ({"metadata": {"name": "alone"}}, "Pod", "alone"),
        ({"metadata": {"generateName": "made-"}}, "Pod", "made"),
        ({}, "Pod", ""),
    ],
)
def test_it_is_about_what_made_the_pod(given: dict[str, object], kind: str, name: str) -> None:
    found = owner(given, "shop")
    assert (found.kind, found.name, found.namespace) == (kind, name, "shop")
