"""Webhooks: injectors that would both be asked about a pod, and those that are nowhere."""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from libs.api import reasons
from libs.api.problem import Problem, Severity
from libs.inject import webhooks, words
from libs.inject.analysis.scenery import Scenery, hooks, written
from libs.inject.analysis.subject import Subject

_NAMESPACE = "any"
_HTTPS_PORT = 443


def overlaps(seen: Scenery) -> Iterator[Problem]:
    """Yield configurations with a webhook that is asked about pods of another one, once a pair."""
    revisions = sorted({it.labels.get(words.REVISION, "") for it in seen.injectors} - {""})
    told = set[tuple[str, str]]()
    for namespace, pod in itertools.product(
        _labels(words.NAMESPACE_SWITCH, ("enabled", "disabled"), revisions),
        _labels(words.INJECT, ("true", "false"), revisions),
    ):
        asked = [
            (one, it.webhook)
            for one in seen.injectors
            for it in webhooks.matches(
                [written(one)], namespace=_NAMESPACE, namespace_labels=namespace, pod_labels=pod
            )
            if it.asked
        ]
        for (first, name), (one, other) in itertools.pairwise(asked):
            if (first.ref, one.ref) not in told:
                told.add((first.ref, one.ref))
                text = f"{other} is asked about pods that {name} of {first.ref} is asked about too"
                yield Problem(one.ref, "webhooks", reasons.INVALID_WEBHOOK, text)


def _labels(switch: str, values: tuple[str, ...], revisions: list[str]) -> list[dict[str, str]]:
    by_switch: list[dict[str, str]] = [{}, *({switch: value} for value in values)]
    by_revision: list[dict[str, str]] = [{}, *({words.REVISION: one} for one in revisions)]
    return [{**one, **other} for one in by_switch for other in by_revision]


def addresses(seen: Scenery) -> Iterator[Problem]:
    """Yield webhooks whose Service is not there, or whose URL is none.

    Of a namespace of which no Service is among the documents, nothing is known.
    """
    ports: dict[str, dict[str, set[object]]] = defaultdict(dict)
    for one in seen.subjects:
        if one.kind == "Service":
            ports[one.namespace][one.name] = _ports(one)
    for one in seen.injectors:
        for index, hook in enumerate(hooks(one)):
            client = hook.get("clientConfig")
            if isinstance(client, Mapping):
                place = f"webhooks[{index}].clientConfig"
                yield from _by_url(one, client.get("url"), f"{place}.url")
                yield from _by_service(one, client.get("service"), f"{place}.service", ports)


def _by_url(one: Subject, url: object, path: str) -> Iterator[Problem]:
    if url is None:
        return
    try:
        host = urlsplit(str(url)).hostname or ""
    except ValueError:
        host = ""
    if not host or not str(url).startswith("https://"):
        text = f"{str(url)[:100]!r} is not the URL of an injector"
        yield Problem(one.ref, path, reasons.INVALID_WEBHOOK_URL, text, Severity.WARNING)
    elif _is_number(host):
        text = f"{host} is an address: a name would outlive it"
        yield Problem(one.ref, path, reasons.NUMERIC_WEBHOOK_URL, text, Severity.WARNING)


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _by_service(  # noqa: PLR0917 - private, and read in one place
    one: Subject, service: object, path: str, ports: Mapping[str, Mapping[str, set[object]]]
) -> Iterator[Problem]:
    if not isinstance(service, Mapping):
        return
    namespace, name = str(service.get("namespace", "")), str(service.get("name", ""))
    number = service.get("port") or _HTTPS_PORT
    there = ports.get(namespace)
    if there is None:
        return
    if name not in there:
        text = f"there is no Service {namespace}/{name}: no pod can be made"
        yield Problem(one.ref, f"{path}.name", reasons.INVALID_WEBHOOK, text)
    elif number not in there[name]:
        text = f"the Service {namespace}/{name} has no port {number}: no pod can be made"
        yield Problem(one.ref, f"{path}.port", reasons.INVALID_WEBHOOK, text)


def _ports(service: Subject) -> set[object]:
    spec: Any = service.raw.get("spec")
    written = spec.get("ports") if isinstance(spec, Mapping) else None
    every = written if isinstance(written, list) else ()
    return {it.get("port") for it in every if isinstance(it, Mapping)}
