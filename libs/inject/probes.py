"""Probes: kubelet's probes and hooks of the application, sent by way of the agent.

Kubelet has no mesh certificate, so under STRICT its probes would be turned away. Each HTTP, TCP and
gRPC probe becomes an HTTP probe of the agent, who makes the original one from inside the pod; hooks
over HTTP go the same way. Thresholds and times stay with kubelet. The originals travel in
ISTIO_KUBE_APP_PROBERS, with ports as numbers, and from there a pod can be put back as it was.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from libs.api import reasons
from libs.api.report import Report
from libs.inject import words

VARIABLE = "ISTIO_KUBE_APP_PROBERS"
_PROBES = {"readinessProbe": "readyz", "livenessProbe": "livez", "startupProbe": "startupz"}
_HOOKS = {"preStop": "prestopz", "postStart": "poststartz"}
_WAYS = ("httpGet", "tcpSocket", "grpc")

Container = dict[str, Any]


class Rewritten(Struct, frozen=True):
    """A pod's spec whose probes go to the agent, and the originals by path."""

    spec: dict[str, Any]
    originals: dict[str, Any]

    @property
    def variable(self) -> str:
        """The value of ISTIO_KUBE_APP_PROBERS; empty if there is no probe to make."""
        return json.dumps(self.originals, separators=(",", ":")) if self.originals else ""


def rewritten(spec: Mapping[str, Any], status_port: int, report: Report) -> Rewritten:
    """Return `spec` with its probes sent to `status_port`. Commands to be run stay as they are.

    A probe of a port that no container has by that name is warned of, and stays.
    """
    work = _Work(status_port, report)
    found = dict(spec)
    for field in ("initContainers", "containers"):
        if containers := spec.get(field):
            found[field] = [
                one if one.get("name") in words.OWN_CONTAINERS else work.container(one)
                for one in containers
            ]
    return Rewritten(found, work.originals)


class _Work:
    def __init__(self, status_port: int, report: Report) -> None:
        self._port = status_port
        self._report = report
        self.originals: dict[str, Any] = {}

    def container(self, container: Container) -> Container:
        found = dict(container)
        for field, word in _PROBES.items():
            probe = container.get(field)
            if isinstance(probe, Mapping):
                path = f"/app-health/{container.get('name')}/{word}"
                found[field] = self._probe(probe, path, container)
        lifecycle = container.get("lifecycle")
        if isinstance(lifecycle, Mapping):
            found["lifecycle"] = self._lifecycle(lifecycle, container)
        return found

    def _lifecycle(self, lifecycle: Mapping[str, Any], container: Container) -> dict[str, Any]:
        found = dict(lifecycle)
        for field, word in _HOOKS.items():
            hook = lifecycle.get(field)
            if isinstance(hook, Mapping) and hook.get("httpGet"):
                path = f"/app-lifecycle/{container.get('name')}/{word}"
                found[field] = self._probe(hook, path, container)
        return found

    def _probe(
        self, probe: Mapping[str, Any], path: str, container: Container
    ) -> Mapping[str, Any]:
        original = self._original(probe, path, container)
        if original is None:
            return probe
        self.originals[path] = original
        kept = {key: value for key, value in probe.items() if key not in _WAYS}
        return {**kept, "httpGet": {"path": path, "port": self._port}}

    def _original(
        self, probe: Mapping[str, Any], path: str, container: Container
    ) -> dict[str, Any] | None:
        way = next((one for one in _WAYS if isinstance(probe.get(one), Mapping)), None)
        if way is None:
            return None
        asked = probe[way]
        port = _number(asked.get("port"), container)
        if port is None:
            text = f"{path.rpartition('/')[2]} of {container.get('name')}: there is no port "
            self._report.warning("spec", reasons.PORT_NOT_FOUND, text + repr(asked.get("port")))
            return None
        if port == self._port and not asked.get("host"):
            return None
        seconds = {"timeoutSeconds": probe["timeoutSeconds"]} if "timeoutSeconds" in probe else {}
        return {way: {**asked, "port": port}, **seconds}


def _number(port: object, container: Container) -> int | None:
    if isinstance(port, bool):
        return None
    if isinstance(port, int):
        return port
    for one in container.get("ports") or ():
        if one.get("name") == port and isinstance(one.get("containerPort"), int):
            return int(one["containerPort"])
    text = str(port)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None


def restored(spec: Mapping[str, Any], variable: str) -> dict[str, Any]:
    """Return `spec` with the probes that `variable` holds back in their places."""
    try:
        originals = json.loads(variable)
    except (ValueError, RecursionError):
        return dict(spec)
    if not isinstance(originals, Mapping):
        return dict(spec)
    found = dict(spec)
    for field in ("initContainers", "containers"):
        if containers := spec.get(field):
            found[field] = [_restored(one, originals) for one in containers]
    return found


def _restored(container: Container, originals: Mapping[str, Any]) -> Container:
    found = dict(container)
    for place, probe in _rewritten_places(container):
        original = originals.get(probe["httpGet"]["path"])
        known = original if isinstance(original, Mapping) else {}
        way = next((one for one in _WAYS if one in known), None)
        if way is None:
            continue
        back = {key: value for key, value in probe.items() if key != "httpGet"}
        back[way] = known[way]
        if place in _HOOKS:
            found["lifecycle"] = {**found["lifecycle"], place: back}
        else:
            found[place] = back
    return found


def _rewritten_places(container: Container) -> Iterator[tuple[str, Mapping[str, Any]]]:
    lifecycle = container.get("lifecycle") or {}
    places = [(name, container.get(name)) for name in _PROBES]
    places += [(name, lifecycle.get(name)) for name in _HOOKS]
    for name, probe in places:
        if isinstance(probe, Mapping) and isinstance(probe.get("httpGet"), Mapping):
            path = str(probe["httpGet"].get("path", ""))
            if path.startswith((f"/app-health/{container.get('name')}/", "/app-lifecycle/")):
                yield name, probe
