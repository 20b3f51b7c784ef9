"""Images: `image: auto` that nobody fills in, and proxies of another image than new ones get."""

from collections import defaultdict
from collections.abc import Iterator

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.inject import words
from libs.inject.analysis.scenery import Scenery
from libs.inject.analysis.subject import Subject
from libs.inject.images import configured

_AUTO = "auto"
_OWN_IMAGE = "sidecar.istio.io/proxyImage"
_NAMED = 3


def unfilled(seen: Scenery) -> Iterator[Problem]:
    """Yield proxies with `image: auto` in pods that injection passes over, or passed over."""
    for one in seen.subjects:
        for path, container in one.containers():
            if container.get("name") != words.PROXY or container.get("image") != _AUTO:
                continue
            running = one.kind == "Pod" and one.exists
            if running or not seen.injects(one):
                text = "only injection knows the image, and these pods are not injected"
                severity = Severity.ERROR if one.kind == "Pod" else Severity.WARNING
                yield Problem(one.ref, f"{path}.image", reasons.IMAGE_AUTO, text, severity)


def outdated(seen: Scenery) -> Iterator[Problem]:
    """Yield namespaces with pods whose proxies are not of the image that the injector is told."""
    others: dict[str, list[str]] = defaultdict(list)
    for one in seen.subjects:
        if one.kind == "Pod" and one.namespace in seen.namespaces and _differs(seen, one):
            others[one.namespace].append(one.name)
    for name, found in sorted(others.items()):
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        text = f"proxies of another image than new ones run in {', '.join(found[:_NAMED])}{more}"
        reason, severity = reasons.PROXY_IMAGE_MISMATCH, Severity.WARNING
        yield Problem(seen.namespaces[name].ref, "metadata.name", reason, text, severity)


def _differs(seen: Scenery, pod: Subject) -> bool:
    labels = seen.namespaces[pod.namespace].labels
    revision = pod.pod_labels.get(words.REVISION) or labels.get(words.REVISION, "default")
    wanted = configured(seen.config(revision).values.global_)
    if not wanted or _OWN_IMAGE in pod.pod_annotations:
        return False
    return any(
        it.get("image") not in {wanted, _AUTO}
        and not str(it.get("image", "")).startswith(f"{wanted}-")  # a variant of it
        for _, it in pod.containers()
        if it.get("name") == words.PROXY
    )
