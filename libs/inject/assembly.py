"""Assembly: the pod of a scene, put together."""

from collections.abc import Mapping
from typing import Any

from libs.api.report import Report
from libs.inject import order, overlay, probes, proxyless, record, scraping, stopping, words
from libs.inject.merge import merged
from libs.inject.scene import PROMETHEUS_PORT, READY_PORT, Scene
from libs.model.workload import canonical_service


def assembled(scene: Scene, report: Report) -> dict[str, Any]:
    """Return the pod with everything that its templates add; `report` takes what is wrong."""
    pieces = overlay.fragments(scene, report)
    laid = overlay.overlaid(scene.pod, pieces)
    if not _has_proxy(laid.pod["spec"]):
        return _noted(scene, laid.pod, record.Notes(scene.cluster.revision, laid.overrides))
    proxyless_ = overlay.is_proxyless(scene)
    spec = laid.pod["spec"]
    turned = _rewritten(scene, proxyless.with_programs(spec) if proxyless_ else spec, report)
    scraped = _scraped(scene, report)
    stops = _stopping(scene, turned.spec)
    spec = _with_variables(
        stops.spec, {probes.VARIABLE: turned.variable, scraping.VARIABLE: scraped.variable}
    )
    spec = order.ordered(spec, scene)
    added = {
        "labels": _labels(scene),
        "annotations": {**_annotations(scene), **scraped.annotations},
    }
    pod = merged({**laid.pod, "spec": spec}, {"metadata": added})
    notes = record.Notes(scene.cluster.revision, laid.overrides, scraped.said, stops.containers)
    return _noted(scene, pod, notes)


def _noted(scene: Scene, pod: Mapping[str, Any], notes: record.Notes) -> dict[str, Any]:
    noted = record.note(scene.spec, pod["spec"], notes)
    return merged(pod, {"metadata": {"annotations": noted}})


def _has_proxy(spec: Mapping[str, Any]) -> bool:
    return any(
        one.get("name") == words.PROXY
        for field in overlay.CONTAINERS
        for one in spec.get(field) or ()
    )


def _rewritten(scene: Scene, spec: dict[str, Any], report: Report) -> probes.Rewritten:
    default = scene.settings.config.values.sidecar_injector_webhook.rewrite_app_http_probe
    wished = scene.wishes.rewrite_probes
    # Nothing stands between kubelet and a proxyless program.
    default = default and not overlay.is_proxyless(scene)
    wanted = default if wished is None else wished
    if not wanted or scene.wishes.status_port == 0:
        return probes.Rewritten(spec, {})
    return probes.rewritten(spec, scene.status_port, report)


def _stopping(scene: Scene, spec: dict[str, Any]) -> stopping.Stopping:
    values = scene.settings.config.values.sidecar_injector_webhook
    wished = scene.wishes.stop_after_drain
    wanted = values.stop_after_drain if wished is None else wished
    # A pod may ask for a native sidecar in a cluster that is too old to know `sleep`.
    if not (wanted and scene.native and scene.cluster.native_sidecars):
        return stopping.Stopping(spec)
    drain = scene.proxy.termination_drain_duration
    seconds = stopping.DRAIN_SECONDS if drain is None else drain / 1000
    own = {*words.OWN_CONTAINERS, *overlay.own_containers(scene.settings.config)}
    return stopping.delayed(spec, seconds, own)


def _scraped(scene: Scene, report: Report) -> scraping.Scraping:
    if overlay.is_proxyless(scene):
        return scraping.Scraping()
    if not scene.wishes.merge_metrics or scene.settings.mesh.enable_prometheus_merge is False:
        return scraping.Scraping()
    own = (scene.status_port, READY_PORT, PROMETHEUS_PORT)
    return scraping.merged(scene.annotations, own, report)


def _with_variables(spec: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    env = [{"name": name, "value": text} for name, text in variables.items() if text]
    if not env:
        return spec
    field = next(
        field
        for field in overlay.CONTAINERS
        for one in spec.get(field) or ()
        if one.get("name") == words.PROXY
    )
    return merged(spec, {field: [{"name": words.PROXY, "env": env}]})


def _labels(scene: Scene) -> dict[str, str]:
    labels = dict(scene.labels)
    fallback = labels.get(words.WORKLOAD_NAME) or scene.owner.name
    name, revision = canonical_service(labels, fallback)
    wanted = {words.CANONICAL_NAME: name[:63], words.CANONICAL_REVISION: revision}
    # Whether a proxyless program serves mutual TLS is known to who wrote it.
    mode = labels.get(words.TLS_MODE, "" if overlay.is_proxyless(scene) else "istio")
    return ({words.TLS_MODE: mode} if mode else {}) | {
        key: value for key, value in wanted.items() if value
    }


def _annotations(scene: Scene) -> dict[str, str]:
    found = dict(scene.settings.config.injected_annotations)
    if scene.applications:
        first = str(scene.applications[0].get("name"))
        for name in (words.DEFAULT_CONTAINER, words.DEFAULT_LOGS_CONTAINER):
            found[name] = scene.annotations.get(name, first)
    return found
