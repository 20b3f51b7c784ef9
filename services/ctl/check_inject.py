"""`seinectl check-inject`: whether a pod gets a proxy, and which rule of which webhook decides so.

The answer comes from the configurations in the cluster, or among the manifests, by the very
functions that injection uses: first which webhooks an API server asks about the pod, then what the
injector that is asked decides.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from libs.api.documents import Raw
from libs.api.kubernetes import ConfigMap
from libs.api.resource import Metadata
from libs.inject import config, manifests, record, shape, tags, unasked, unserved, webhooks
from libs.inject.config import InjectorConfig
from libs.inject.decide import Decision, decide
from libs.inject.scene import NamespaceFacts
from libs.inject.webhooks import Match, Target
from services.ctl import inject, output
from services.ctl.output import Format

YES, NO = "[green]✓[/]", "[red]✗[/]"
_KINDS = {
    "pod": "/api/v1/namespaces/{}/pods/{}",
    "deployment": "/apis/apps/v1/namespaces/{}/deployments/{}",
    "statefulset": "/apis/apps/v1/namespaces/{}/statefulsets/{}",
    "daemonset": "/apis/apps/v1/namespaces/{}/daemonsets/{}",
    "cronjob": "/apis/batch/v1/namespaces/{}/cronjobs/{}",
    "job": "/apis/batch/v1/namespaces/{}/jobs/{}",
}
DEFAULT_KUBECONFIG = Path("~/.kube/config")
_CONFIGURATIONS = f"/apis/{webhooks.API_VERSION}/mutatingwebhookconfigurations"


class Subject(Struct, frozen=True, kw_only=True):
    """A pod, or what makes pods, and what it depends on."""

    name: str
    namespace: str
    pod: Mapping[str, Any]
    namespace_labels: Mapping[str, str] = {}
    configurations: Sequence[Raw] = ()
    injector: InjectorConfig = InjectorConfig()


class Answer(Struct, frozen=True, kw_only=True):
    """What becomes of a subject. Without a decision nobody is asked."""

    subject: str
    injected: bool
    text: str
    matches: Sequence[Match] = ()
    decision: Decision | None = None
    running_with_proxy: bool = False
    odd: Sequence[str] = ()


def run_files(paths: Sequence[str], namespace: str, form: Format) -> int:
    """Answer for everything in manifests that makes pods."""
    raws = [one.raw for one in inject.read(paths) if one.raw is not None]
    return _print([answer(one) for one in _in_files(raws, namespace)], form)


def run_cluster(name: str, kubeconfig: str, context: str = "", *, form: Format) -> int:
    """Answer for `[KIND/]NAME[.NAMESPACE]` in a cluster."""
    path = kubeconfig or str(DEFAULT_KUBECONFIG.expanduser())
    return _print([answer(asyncio.run(_in_cluster(name, path, context)))], form)


def answer(subject: Subject) -> Answer:
    """Return what becomes of a subject."""
    metadata: Mapping[str, Any] = subject.pod.get("metadata") or {}
    found = webhooks.matches(
        subject.configurations,
        namespace=subject.namespace,
        namespace_labels=subject.namespace_labels,
        pod_labels=metadata.get("labels") or {},
    )
    odd = [webhooks.both_labels(subject.namespace_labels), *_in_vain(subject)]
    asked = [one for one in found if one.asked]
    decision = decide(subject.pod, subject.namespace, subject.injector) if asked else None
    text = _asked(asked, decision) if decision else _not_asked(found, subject.namespace)
    return Answer(
        subject=f"{subject.name}.{subject.namespace}",
        injected=decision is not None and decision.inject,
        text=text,
        matches=found,
        decision=decision,
        running_with_proxy=record.is_injected(subject.pod),
        odd=[*(text for text in odd if text), *(decision.ignored if decision else ())],
    )


def _in_vain(subject: Subject) -> list[str]:
    """Return what the labels of the namespace or the pod say that no injector ever hears."""
    known = [one for raw in subject.configurations for one in unserved.asks(raw)]
    labels = (subject.pod.get("metadata") or {}).get("labels") or {}
    spaces = subject.namespace_labels
    found = (
        unserved.of_namespace(subject.namespace, spaces, known),
        unasked.why(labels, NamespaceFacts(name=subject.namespace, labels=spaces), known),
    )
    return [one.text for one in found if one]


def _asked(asked: Sequence[Match], decision: Decision) -> str:
    return f"{asked[0].webhook} is asked: {decision.text} ({decision.rule})"


def _not_asked(matches: Sequence[Match], namespace: str) -> str:
    near = [one.webhook for one in matches if one.namespace_fits]
    if near:
        return f"no webhook is asked: the pod's labels do not fit the objectSelector of {near[0]}"
    return f"no webhook is asked: no namespaceSelector fits the labels of {namespace}"


def _in_files(raws: Sequence[Raw], namespace: str) -> Iterator[Subject]:
    labels = {
        str(_metadata(raw).get("name")): _metadata(raw).get("labels") or {}
        for raw in raws
        if raw.get("kind") == "Namespace"
    }
    configurations = [raw for raw in raws if raw.get("kind") == webhooks.KIND]
    injector = inject.settings_of(raws, inject.Options()).config
    for raw in raws:
        pod = manifests.pod_of(raw)
        if pod is None:
            continue
        if wrong := shape.wrong(pod):
            output.fail(f"{_metadata(raw).get('name')}: {wrong}")
        place = str(_metadata(raw).get("namespace") or namespace)
        yield Subject(
            name=str(_metadata(raw).get("name") or _metadata(raw).get("generateName")),
            namespace=place,
            pod=pod,
            namespace_labels=labels.get(place, {}),
            configurations=configurations or [webhooks.configuration(Target())],
            injector=injector,
        )


async def _in_cluster(name: str, kubeconfig: str, context: str) -> Subject:
    from libs.kube import access  # noqa: PLC0415 - only now it is needed
    from libs.kube.client import Client  # noqa: PLC0415
    from libs.kube.errors import KubeError  # noqa: PLC0415

    path, bare, namespace = located(name)
    try:
        async with Client(access.load(kubeconfig, context)) as client:
            pod = manifests.pod_of({"kind": "Pod"} | await client.get(path))
            place = await client.get(f"/api/v1/namespaces/{namespace}")
            listed = await client.get(_CONFIGURATIONS)
            injector = await _injector(client)
    except KubeError as error:
        output.fail(str(error), hint=f"kubeconfig: {kubeconfig}")
    return Subject(
        name=bare,
        namespace=namespace,
        pod=pod or {},
        namespace_labels=place["metadata"].get("labels") or {},
        configurations=[one for one in listed["items"] if tags.is_injector(one)],
        injector=injector,
    )


def located(name: str) -> tuple[str, str, str]:
    """Return path, name and namespace of `[KIND/]NAME[.NAMESPACE]`, or end the command."""
    kind, slash, rest = name.rpartition("/")
    kind = kind.lower() if slash else "pod"
    bare, _, namespace = rest.partition(".")
    pattern = _KINDS.get(kind)
    if pattern is None or not bare:
        known = ", ".join(_KINDS)
        output.fail(f"{name!r} is not of the form [KIND/]NAME[.NAMESPACE]", hint=f"kinds: {known}")
    namespace = namespace or "default"
    return pattern.format(namespace, bare), bare, namespace


async def _injector(client: Any) -> InjectorConfig:  # noqa: ANN401 - imported late
    from libs.kube.errors import NotFoundError  # noqa: PLC0415

    try:
        raw = await client.get(f"/api/v1/namespaces/istio-system/configmaps/{config.NAME}")
    except NotFoundError:
        return InjectorConfig()
    return config.read(ConfigMap(Metadata(config.NAME), raw.get("data") or {}))[0]


def _metadata(raw: Raw) -> Mapping[str, Any]:
    found = raw.get("metadata")
    return found if isinstance(found, Mapping) else {}


def _print(answers: Sequence[Answer], form: Format) -> int:
    if form is Format.JSON:
        output.print_json([_described(one) for one in answers])
        return output.OK
    for one in answers:
        sign = YES if one.injected else NO
        output.say(f"{sign} [bold]{output.clean(one.subject)}[/]: {output.clean(one.text)}")
        for text in one.odd:
            output.say(f"  [yellow]{output.clean(text)}[/]")
        if one.running_with_proxy is not one.injected and one.running_with_proxy:
            output.say("  it has a proxy now, from an earlier injection")
        rows = [_row(match) for match in one.matches]
        output.print_table(["WEBHOOK", "REVISION", "NAMESPACE FITS", "POD FITS"], rows)
    return output.OK


def _row(match: Match) -> list[str]:
    fits = [YES if one else NO for one in (match.namespace_fits, match.pod_fits)]
    return [output.clean(f"{match.configuration} {match.webhook}"), match.revision, *fits]


def _described(one: Answer) -> dict[str, object]:
    rule = {"rule": one.decision.rule} if one.decision else {}
    return {
        "subject": one.subject,
        "injected": one.injected,
        "text": one.text,
        **rule,
        "odd": list(one.odd),
        "webhooks": [
            {
                "configuration": match.configuration,
                "webhook": match.webhook,
                "revision": match.revision,
                "namespaceFits": match.namespace_fits,
                "podFits": match.pod_fits,
            }
            for match in one.matches
        ],
    }
