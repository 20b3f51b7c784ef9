"""Record: what an injection notes about itself in the pod, and how it is undone by that.

A pod may come again: another webhook asks for it, or a manifest was injected before it was applied.
Then the earlier injection is taken out first, with probes and annotations put back, so that
injecting twice is injecting once. The notes are annotations, which anybody may write: only
containers that an injector may have added are ever taken out, and notes that cannot be read are as
good as none.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from libs.inject import probes, scraping, stopping, words

Pod = Mapping[str, Any]
_LISTS = ("initContainers", "containers", "volumes", "imagePullSecrets")
_CONTAINERS = ("initContainers", "containers")


class _Status(Struct, rename="camel"):
    init_containers: list[str] | None = None
    containers: list[str] | None = None
    volumes: list[str] | None = None
    image_pull_secrets: list[str] | None = None
    scraping: dict[str, str] | None = None
    stopping: list[str] | None = None

    def names(self, field: str) -> list[str]:
        written = {
            "initContainers": self.init_containers,
            "containers": self.containers,
            "volumes": self.volumes,
            "imagePullSecrets": self.image_pull_secrets,
        }
        return written[field] or []


_STATUS = msgspec.json.Decoder(_Status)
_OVERRIDES = msgspec.json.Decoder(dict[str, list[dict[str, Any]]])


def original(pod: Pod, own_containers: Collection[str] = ()) -> dict[str, Any]:
    """Return `pod` as it was before it was injected; one that was not is returned as it is.

    `own_containers` are those that templates add, beside the usual ones.
    """
    metadata = pod.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    status = _decoded(annotations.get(words.STATUS))
    if status is None:
        return dict(pod)
    proxy = _environment(_proxy(pod.get("spec") or {}))
    spec = probes.restored(pod.get("spec") or {}, proxy.get(probes.VARIABLE, ""))
    spec = stopping.restored(spec, status.stopping or ())
    spec = _without(spec, status, {*words.OWN_CONTAINERS, *own_containers})
    spec = _with_overrides(spec, annotations.get(words.OVERRIDES))
    kept = scraping.restored(annotations, status.scraping)
    kept = {key: kept[key] for key in kept if key not in {words.STATUS, words.OVERRIDES}}
    return {**pod, "metadata": {**metadata, "annotations": kept}, "spec": spec}


def is_injected(pod: Pod) -> bool:
    """Tell whether an injection has left a note that can be read, and its proxy."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    status = _decoded(annotations.get(words.STATUS))
    return status is not None and bool(_proxy(pod.get("spec") or {}))


def _decoded(text: str | None) -> _Status | None:
    try:
        return _STATUS.decode(text) if text else None
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def _proxy(spec: Pod) -> Mapping[str, Any]:
    for field in _CONTAINERS:
        for one in spec.get(field) or ():
            if one.get("name") == words.PROXY:
                return dict(one)
    return {}


def _environment(container: Mapping[str, Any]) -> dict[str, str]:
    return {
        str(one.get("name")): one["value"]
        for one in container.get("env") or ()
        if isinstance(one.get("value"), str)
    }


def _without(spec: dict[str, Any], status: _Status, own: set[str]) -> dict[str, Any]:
    found = dict(spec)
    for field in _LISTS:
        gone = set(status.names(field))
        gone = gone & own if field in _CONTAINERS else gone
        entries = spec.get(field)
        if not gone or not entries:
            continue
        kept = [one for one in entries if one.get("name") not in gone]
        if kept or field == "containers":
            found[field] = kept
        else:
            del found[field]
    return found


def _with_overrides(spec: dict[str, Any], text: str | None) -> dict[str, Any]:
    try:
        overrides = _OVERRIDES.decode(text) if text else {}
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return spec
    found = dict(spec)
    for field in _CONTAINERS:
        if entries := overrides.get(field):
            found[field] = [*(spec.get(field) or ()), *entries]
    return found


class Notes(Struct, frozen=True):
    """What else an injection has to remember."""

    revision: str
    overrides: Mapping[str, list[Any]]
    scraping: Mapping[str, str] | None = None
    """Annotations for Prometheus before they were turned; None if they were not."""
    stopping: tuple[str, ...] = ()
    """Containers that sleep before they are told to end."""


def note(before: Pod, after: Pod, notes: Notes) -> dict[str, str]:
    """Return the annotations that record what was added between two specs."""
    overrides = notes.overrides
    status: dict[str, Any] = {
        field: _added(before.get(field) or (), after.get(field) or (), overrides.get(field) or ())
        for field in _LISTS
    }
    status = {field: names or None for field, names in status.items()}
    status["revision"] = notes.revision
    if notes.scraping is not None:
        status["scraping"] = notes.scraping
    if notes.stopping:
        status["stopping"] = notes.stopping
    found = {words.STATUS: _json(status), words.REVISION: notes.revision}
    kept = {field: entries for field, entries in overrides.items() if entries}
    return found | ({words.OVERRIDES: _json(kept)} if kept else {})


def _added(before: Iterable[Any], after: Iterable[Any], overridden: Iterable[Any]) -> list[str]:
    known = {one.get("name") for one in before} - {one.get("name") for one in overridden}
    return [one["name"] for one in after if one.get("name") not in known]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
