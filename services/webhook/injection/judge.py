"""Judge of pods: decides, injects, and says what became of it, in the answer, metrics and events.

Nothing here waits: what it takes to know was learnt before. Pods that may take long are judged in a
thread, so that others are answered meanwhile. A dry run gets the same answer, and leaves no event.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import msgspec
from msgspec import Struct

from libs.api import proxy_defaults
from libs.api.problem import Problem
from libs.inject import shape
from libs.inject.decide import Decision, Rule, decide
from libs.inject.patch import difference
from libs.inject.pods import Asked, inject
from libs.inject.scene import Cluster
from services.webhook import metrics
from services.webhook.injection.events import NOT_INJECTED, Events, Notice, owner
from services.webhook.injection.knowledge import Knowledge
from services.webhook.review import GroupVersionKind, Question, Verdict

logger = logging.getLogger(__name__)

POD = GroupVersionKind("", "v1", "Pod")
SHOWN = 20
MAX_TEXT = 8192
MAX_DETAIL = 256
"""Of a text, by which one mistake is told from the next."""
NOT_A_NEW_POD = "NotANewPod"
SLOW_BYTES = 256 * 1024
"""Pods from this size on take several milliseconds whatever they say."""
SLOW_TEXT_BYTES = 16 * 1024
"""Pods from this size on may hold a YAML text whose reading takes tens of milliseconds."""
_WISHED = frozenset({Rule.LABEL, Rule.ANNOTATION})
_KNOWN_KEYS = {"cluster": "ISTIO_META_CLUSTER_ID", "net": "ISTIO_META_NETWORK"}

Pod = Mapping[str, Any]


class PodJudge:
    """Judges one pod after another. `cluster` may be replaced when more is known."""

    def __init__(self, knowledge: Knowledge, events: Events, cluster: Cluster) -> None:
        self.cluster = cluster
        self._knowledge = knowledge
        self._events = events

    async def judge(self, question: Question, path: str) -> Verdict:
        """Return the verdict about a pod that is being created."""
        metrics.INJECTIONS.inc()
        started, judged = perf_counter(), None
        slow = _may_be_slow(bytes(question.object))
        try:
            if slow:
                judged = await asyncio.to_thread(self._judged, question, path)
            else:
                judged = self._judged(question, path)
        except RecursionError:
            judged = _refused(400, "the pod is nested too deep")
        finally:
            if judged is None or not judged.verdict.allowed:
                metrics.FAILED.inc()
            metrics.INJECTION_SECONDS.observe(perf_counter() - started)
        if judged.notice is not None and not question.dry_run:
            self._events.tell(judged.notice)
        return judged.verdict

    def _judged(self, question: Question, path: str) -> "_Judged":
        new = question.kind == POD and question.operation == "CREATE" and not question.sub_resource
        if not new:
            metrics.SKIPPED.labels(NOT_A_NEW_POD).inc()
            return _Judged(Verdict())
        try:
            pod = msgspec.json.decode(question.object)
        except (msgspec.DecodeError, UnicodeError) as error:
            return _refused(400, f"not a pod: {error}")
        wrong = shape.wrong(pod)
        if wrong:
            return _refused(400, wrong)
        decision = decide(pod, question.namespace, self._knowledge.settings.config)
        if not decision.inject:
            return _skipped(question, pod, decision)
        return self._injected(question, pod, path, decision)

    def _injected(self, question: Question, pod: Pod, path: str, decision: Decision) -> "_Judged":  # noqa: PLR0917
        asked = Asked(
            pod=pod,
            namespace=self._knowledge.namespace(question.namespace),
            variables=variables(path),
        )
        done = inject(asked, self._now(), self._knowledge.settings)
        if done.pod is None:
            return _failed(question, pod, done.errors)
        metrics.INJECTED.inc()
        patch = msgspec.json.encode(difference(pod, done.pod))
        warnings = [_written(one) for one in done.warnings]
        return _Judged(Verdict(patch=patch, warnings=(*decision.ignored, *warnings)))

    def _now(self) -> Cluster:
        network = self._knowledge.network
        if network == self.cluster.network:
            return self.cluster
        return msgspec.structs.replace(self.cluster, network=network)


def _may_be_slow(pod: bytes) -> bool:
    """A thread of its own costs more than judging most pods does."""
    if len(pod) < SLOW_TEXT_BYTES:
        return False
    return len(pod) >= SLOW_BYTES or proxy_defaults.ANNOTATION.encode() in pod


class _Judged(Struct, frozen=True):
    """A verdict, and whom to tell of it."""

    verdict: Verdict
    notice: Notice | None = None


def _skipped(question: Question, pod: Pod, decision: Decision) -> _Judged:
    metrics.SKIPPED.labels(decision.rule).inc()
    text = f"not injected: {decision.text}"
    logger.info("pod not injected", extra=_extra(question, pod, decision.text))
    about, warning = owner(pod, question.namespace), decision.rule not in _WISHED
    notice = Notice(about, NOT_INJECTED, text, warning=warning, detail=decision.rule)
    return _Judged(Verdict(warnings=(text, *decision.ignored)), notice)


def _failed(question: Question, pod: Pod, errors: Sequence[Problem]) -> _Judged:
    text = "; ".join(_written(one) for one in errors[:SHOWN])[:MAX_TEXT]
    logger.warning("pod refused", extra=_extra(question, pod, text))
    about = owner(pod, question.namespace)
    notice = Notice(about, "InjectionFailed", text, detail=text[:MAX_DETAIL])
    return _refused(422, f"the proxy cannot be injected: {text}", notice)


def variables(path: str) -> dict[str, str]:
    """Return the environment that a webhook's path asks for: `/inject/cluster/east/net/vpc1`."""
    parts = [part for part in path.split("/")[2:] if part]
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return {
        _KNOWN_KEYS.get(key, key.upper()): value.replace("--slash--", "/") for key, value in pairs
    }


def _refused(code: int, text: str, notice: Notice | None = None) -> _Judged:
    return _Judged(Verdict(allowed=False, text=text, code=code, reason="Invalid"), notice)


def _written(problem: Problem) -> str:
    return f"{problem.path}: {problem.text}" if problem.path else problem.text


def _extra(question: Question, pod: Pod, text: str) -> dict[str, str]:
    metadata = pod.get("metadata") or {}
    name = metadata.get("name") or metadata.get("generateName") or ""
    return {"namespace": question.namespace, "pod": name, "text": text}
