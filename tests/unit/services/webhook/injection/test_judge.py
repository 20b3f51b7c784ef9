"""Reviews of pods, honest and hostile: each gets its answer, and nothing else happens."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jsonpatch
import pytest
from prometheus_client import REGISTRY

from libs.inject.scene import Cluster
from libs.kube import access
from libs.kube.client import Client
from services.webhook.injection.events import Events
from services.webhook.injection.judge import PodJudge, variables
from services.webhook.injection.knowledge import Knowledge
from tests.support.clock import VirtualClock
from tests.support.pods import names, pod, result
from tests.support.webhook_port import Port, port_of

POD = {"group": "", "version": "v1", "kind": "Pod"}


class Watched(Events):
    """Events that are kept instead of written."""

    def __init__(self) -> None:
        super().__init__(Client(access.load("/nowhere")), VirtualClock())

    @property
    def told(self) -> list[str]:
        return [notice.reason for notice in list(self._queue._queue)]  # type: ignore[attr-defined]


class Injector:
    """The judge of pods behind a real port."""

    def __init__(self, port: Port, events: Watched) -> None:
        self.port = port
        self.events = events

    async def ask(self, given: Any, **request: Any) -> Any:  # noqa: ANN401
        """Return the response to a review, or the status if there is none."""
        asked = {
            "uid": "u",
            "kind": POD,
            "namespace": "shop",
            "operation": "CREATE",
            "object": given,
            **request,
        }
        return await self.send(json.dumps(_review(asked)).encode())

    async def send(self, body: bytes) -> Any:  # noqa: ANN401
        answer = await self.port.post(body)
        assert b"Traceback" not in answer.body
        return answer.json["response"] if answer.status == 200 else answer.status

    async def works(self) -> bool:
        return "patch" in await self.ask(pod())


def _review(request: Any, version: str = "v1") -> dict[str, Any]:  # noqa: ANN401
    return {
        "apiVersion": f"admission.k8s.io/{version}",
        "kind": "AdmissionReview",
        "request": request,
    }


@pytest.fixture(name="injector")
async def injector_at_a_port() -> AsyncIterator[Injector]:
    events = Watched()
    knowledge = Knowledge("istio-system", "default", lambda *_: None)
    judge = PodJudge(knowledge, events, Cluster())
    async with port_of(judge.judge) as port:
        yield Injector(port, events)


def _patched(given: Any, response: Any) -> Any:  # noqa: ANN401
    import base64  # noqa: PLC0415

    return jsonpatch.apply_patch(given, json.loads(base64.b64decode(response["patch"])))


def _count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_pod_gets_its_proxy(injector: Injector) -> None:
    response = await injector.ask(pod())
    assert response["uid"] == "u"
    assert response["allowed"]
    assert _patched(pod(), response) == result(pod())


async def test_both_versions_get_the_same_answer(injector: Injector) -> None:
    request = {"uid": "b", "kind": POD, "operation": "CREATE", "object": pod()}
    for version in ("v1", "v1beta1"):
        body = json.dumps(_review(request, version)).encode()
        assert "patch" in await injector.send(body)


async def test_an_injected_pod_needs_no_patch(injector: Injector) -> None:
    once = result(pod())
    assert (
        "patch" not in await injector.ask(once) or _patched(once, await injector.ask(once)) == once
    )


# The hostile list: what it is, and what becomes of it.

REFUSED_REQUESTS: dict[str, bytes] = {
    "empty": b" ",
    "null": b"null",
    "list": b"[]",
    "nested 100,000 deep": b"[" * 100_000,
    "other version": json.dumps(_review({"uid": "u"}, "v2")).encode(),
    "no request": b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}',
    "no uid": json.dumps(_review({"kind": POD})).encode(),
    "not a review": json.dumps({**_review({"uid": "u"}), "kind": "Pod"}).encode(),
}


@pytest.mark.parametrize("name", REFUSED_REQUESTS)
async def test_what_is_no_review_has_no_answer(injector: Injector, name: str) -> None:
    assert await injector.send(REFUSED_REQUESTS[name]) == 400
    assert await injector.works()


PASSED: dict[str, dict[str, Any]] = {
    "of another kind": {"kind": {"group": "apps", "version": "v1", "kind": "Deployment"}},
    "deleted": {"operation": "DELETE", "object": None, "oldObject": pod()},
    "updated": {"operation": "UPDATE"},
    "connected to": {"operation": "CONNECT", "object": {"kind": "PodExecOptions"}},
    "a part of a pod": {"subResource": "ephemeralcontainers"},
}


@pytest.mark.parametrize("name", PASSED)
async def test_what_is_no_new_pod_is_let_through_untouched(injector: Injector, name: str) -> None:
    response = await injector.ask(pod(), **PASSED[name])
    assert response == {"uid": "u", "allowed": True}


MALFORMED: dict[str, Any] = {
    "nothing": None,
    "a text of a megabyte": "x" * 1_000_000,
    "a number": 5,
    "no spec": {"metadata": {}},
    "a spec that is a list": {"spec": []},
    "containers that are texts": {"spec": {"containers": ["a"]}},
    "a container without a name": {"spec": {"containers": [{}]}},
    "labels that are numbers": {"metadata": {"labels": {"a": 5}}, "spec": {}},
    "annotations that are a list": {"metadata": {"annotations": []}, "spec": {}},
    "an owner that is a text": {"metadata": {"ownerReferences": ["a"]}, "spec": {}},
    "a probe that is a text": {"spec": {"containers": [{"name": "a", "livenessProbe": "x"}]}},
    "a port that is a list": {"spec": {"containers": [{"name": "a", "ports": [[]]}]}},
    "an environment that is a mapping": {"spec": {"containers": [{"name": "a", "env": {}}]}},
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_pod_is_refused_in_an_answer(injector: Injector, name: str) -> None:
    response = await injector.ask(MALFORMED[name])
    assert response["allowed"] is False
    assert response["status"]["code"] == 400
    assert len(response["status"]["message"]) < 1000
    assert await injector.works()


async def test_a_pod_that_is_nested_deep_ends_in_an_answer(injector: Injector) -> None:
    inner: Any = {}
    for _ in range(400):
        inner = {"a": inner}
    note = {"sidecar.istio.io/userVolume": '{"v": ' + '{"a":' * 900 + "{}" + "}" * 900 + "}"}
    for given in (pod(securityContext=inner), pod(annotations=note)):
        assert "allowed" in await injector.ask(given)
    assert await injector.works()


LARGE: dict[str, Any] = {
    "1,000 containers": pod(*[{"name": f"c{at}", "image": "a"} for at in range(1000)]),
    "no containers": {**pod(), "spec": {"containers": []}},
    "an annotation of 262,144 bytes": pod(annotations={"note": "x" * 262_144}),
    "a status that somebody made up": pod(
        annotations={"sidecar.istio.io/status": json.dumps({"containers": ["app"]})}
    ),
}


@pytest.mark.parametrize("name", LARGE)
async def test_odd_pods_are_injected_all_the_same(injector: Injector, name: str) -> None:
    started = time.perf_counter()
    response = await injector.ask(LARGE[name])
    assert time.perf_counter() - started < 30  # a guard against hanging, not a measurement
    made = _patched(LARGE[name], response)
    assert "istio-proxy" in names(made, "initContainers")
    assert names(made) == names(LARGE[name])


async def test_half_of_a_surrogate_pair_is_no_text(injector: Injector) -> None:
    assert await injector.ask(pod(annotations={"note": "\ud800"})) == 400
    assert await injector.works()


async def test_seven_megabytes_are_too_many(injector: Injector) -> None:
    assert await injector.ask(pod(annotations={"note": "x" * 7_000_000})) == 413
    assert await injector.works()


# Nobody is left out in silence.


async def test_a_pod_that_is_not_injected_is_told_and_counted(injector: Injector) -> None:
    name, labels = "sidecar_injection_skip_total", {"reason": "HostNetwork"}
    before = _count(name, **labels)
    response = await injector.ask(pod(hostNetwork=True))
    assert response["allowed"]
    assert "patch" not in response
    assert "network of its node" in response["warnings"][0]
    assert injector.events.told == ["NotInjected"]
    assert _count(name, **labels) == before + 1


async def test_a_dry_run_gets_the_same_answer_and_leaves_nothing(injector: Injector) -> None:
    wet = await injector.ask(pod(hostNetwork=True))
    dry = await injector.ask(pod(hostNetwork=True), dryRun=True)
    assert dry == wet
    assert len(injector.events.told) == 1
    bad = pod(annotations={"sidecar.istio.io/logLevel": "loud"})
    assert (await injector.ask(bad, dryRun=True))["allowed"] is False
    assert len(injector.events.told) == 1


async def test_a_refused_pod_is_told_and_counted(injector: Injector) -> None:
    before = _count("sidecar_injection_failure_total")
    bad = pod(annotations={"sidecar.istio.io/logLevel": "loud"})
    response = await injector.ask(bad)
    assert response["status"]["code"] == 422
    assert "sidecar.istio.io/logLevel" in response["status"]["message"]
    assert injector.events.told == ["InjectionFailed"]
    assert _count("sidecar_injection_failure_total") == before + 1


async def test_a_label_that_is_neither_is_warned_of(injector: Injector) -> None:
    response = await injector.ask(pod(labels={"sidecar.istio.io/inject": "yes"}))
    assert "'yes'" in response["warnings"][0]
    assert "patch" in response


def test_the_path_says_what_the_proxy_is_told() -> None:
    assert variables("/inject") == variables("/inject/") == {}
    assert variables("/inject/cluster/east/net/vpc--slash--1/team/a") == {
        "ISTIO_META_CLUSTER_ID": "east",
        "ISTIO_META_NETWORK": "vpc/1",
        "TEAM": "a",
    }
    assert variables("/inject/cluster") == {}
