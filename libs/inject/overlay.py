"""Overlay: which templates a pod gets, and containers of its own laid over what they make.

A pod may declare a container of a template's name, such as `istio-proxy`, to change some of its
fields: it is merged over the template's, and its image `auto` stands for the template's.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.written import written
from libs.inject import builtin, privileges, words
from libs.inject.config import InjectorConfig
from libs.inject.images import proxy_image
from libs.inject.merge import merged
from libs.inject.scene import Scene
from libs.inject.templates import render

AUTO = "auto"
CONTAINERS = ("initContainers", "containers")
_PLACE: Path = (((None, "metadata"), "annotations"), words.TEMPLATES)

Fragment = Mapping[str, Any]


def own_containers(config: InjectorConfig) -> list[str]:
    """Return the names of the containers that users' templates make."""
    specs = [template.fragment.get("spec") or {} for template in config.templates.values()]
    return [
        str(one.get("name"))
        for spec in specs
        for field in CONTAINERS
        for one in spec.get(field) or ()
    ]


def template_names(scene: Scene) -> tuple[str, ...]:
    """Return the templates that the pod asks for, or the default ones, aliases resolved."""
    config = scene.settings.config
    names = scene.wishes.templates or config.default_templates
    return tuple(real for name in names for real in config.aliases.get(name, (name,)))


def is_proxyless(scene: Scene) -> bool:
    """Tell whether the pod has no proxy but programs that speak xDS, by a template of ours."""
    users = scene.settings.config.templates
    return any(one in words.GRPC_TEMPLATES and one not in users for one in template_names(scene))


def fragments(scene: Scene, report: Report) -> list[Fragment]:
    """Return the pieces to lay over the pod; a template that there is not is an error."""
    found: list[Fragment] = []
    for name in template_names(scene):
        users = scene.settings.config.templates.get(name)
        if users is not None:
            found.append(render(users, _data(scene)))
        elif name in builtin.TEMPLATES:
            found.append(builtin.TEMPLATES[name](scene))
        else:
            text = _missing(name, scene.settings.config)
            report.error(_PLACE, reasons.INVALID_ANNOTATION, text)
    if is_proxyless(scene) and {words.SIDECAR_TEMPLATE, words.GATEWAY_TEMPLATE} & {
        *template_names(scene)
    }:
        text = (
            "a pod has a proxy or is proxyless: a gRPC template stands without sidecar or gateway"
        )
        report.error(_PLACE, reasons.INVALID_ANNOTATION, text)
    return found


def _missing(name: str, config: InjectorConfig) -> str:
    if wrong := config.refused.get(name):
        return f"the template {name[:100]!r} of the injector's ConfigMap is refused: {wrong}"
    known = ", ".join(sorted({*builtin.TEMPLATES, *config.templates}))
    missing = "is not supported yet" if name in words.NOT_YET else "is not there"
    return f"the template {name[:100]!r} {missing}; there are {known}"


def _data(scene: Scene) -> dict[str, Any]:
    """What users' templates may name; Istio's names."""
    metadata = scene.pod.get("metadata") or {}
    place = {"name": metadata.get("name"), "namespace": scene.namespace.name}
    return {
        "ObjectMeta": {**metadata, **place},
        "DeploymentMeta": {"name": scene.owner.name, "namespace": scene.namespace.name},
        "TypeMeta": {"kind": scene.owner.kind, "apiVersion": scene.owner.api_version},
        "Spec": scene.spec,
        "Values": scene.settings.config.raw_values,
        "MeshConfig": written(scene.settings.mesh),
        "ProxyConfig": written(scene.proxy),
        "ProxyImage": proxy_image(scene),
        "ProxyUID": privileges.identity(scene).user,
        "ProxyGID": privileges.identity(scene).group,
        "Revision": scene.cluster.revision,
    }


class Overlaid(Struct, frozen=True):
    """A pod with the pieces laid over it, and the containers that it had declared itself."""

    pod: dict[str, Any]
    overrides: Mapping[str, list[Any]]


def overlaid(pod: Mapping[str, Any], pieces: Iterable[Fragment]) -> Overlaid:
    """Return `pod` with `pieces` laid over it in turn."""
    layer: dict[str, Any] = {}
    for piece in pieces:
        layer = merged(layer, _placed(piece, layer))
    made = _made(layer)
    bare, overrides = _apart(pod, made)
    found = merged(bare, layer)
    for declared in overrides.values():
        for container in declared:
            found["spec"] = _over(found["spec"], container)
    return Overlaid(found, overrides)


def _placed(piece: Fragment, layer: Fragment) -> Fragment:
    """Return `piece` with containers in the lists where containers of their names are already.

    Whether the proxy is native decides where it stands; users' templates need not know.
    """
    spec, known = piece.get("spec") or {}, layer.get("spec") or {}
    found: dict[str, list[Any]] = {}
    for field in CONTAINERS:
        for one in spec.get(field) or ():
            found.setdefault(_place(one.get("name"), known) or field, []).append(one)
    rest = {key: value for key, value in spec.items() if key not in CONTAINERS}
    return {**piece, "spec": {**rest, **found}} if found else piece


def _place(name: object, spec: Mapping[str, Any]) -> str:
    for field in CONTAINERS:
        if any(one.get("name") == name for one in spec.get(field) or ()):
            return field
    return ""


def _made(layer: Fragment) -> set[object]:
    spec = layer.get("spec") or {}
    return {one.get("name") for field in CONTAINERS for one in spec.get(field) or ()}


def _apart(
    pod: Mapping[str, Any], made: set[object]
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the pod without its containers of those names, and these containers by field."""
    spec = dict(pod.get("spec") or {})
    overrides: dict[str, list[Any]] = {}
    for field in CONTAINERS:
        containers = spec.get(field) or ()
        declared = [one for one in containers if one.get("name") in made]
        if declared:
            overrides[field] = declared
            spec[field] = [one for one in containers if one.get("name") not in made]
    return {**pod, "spec": spec}, overrides


def _over(spec: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    """Lay a declared container over the one of its name, in whichever list that stands."""
    found = dict(spec)
    above = dict(container)
    if above.get("image") == AUTO:
        del above["image"]
    for field in CONTAINERS:
        if containers := spec.get(field):
            found[field] = [
                merged(one, above) if one.get("name") == above.get("name") else one
                for one in containers
            ]
    return found
