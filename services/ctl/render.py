"""Render: what a proxy's Envoy would get from a set of manifests, without a running mesh.

The same rooms that make the configuration of a running mesh make this one. What a cluster would
add is not made up: a Pod needs its addresses in its status. Endpoint slices are made from Pods
where the manifests have none.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec
from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.extension_pb2 import TypedExtensionConfig
from envoy.config.endpoint.v3.endpoint_pb2 import ClusterLoadAssignment
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from google.protobuf.message import Message
from msgspec import structs

from libs.api import mesh_config, reasons
from libs.api.check import check_files
from libs.api.kubernetes import ConfigMap, Pod
from libs.api.networking.proxy_config import ProxyConfig
from libs.api.problem import Problem, Severity
from libs.api.proxy_defaults import ProxyDefaults
from libs.api.resource import Metadata, Resource
from libs.api.written import written
from libs.model.ids import SpiffeId, workload_key
from libs.model.mesh import Mesh
from libs.model.settings import MeshSettings
from libs.model.workload import Workload
from libs.protos.bootstrap.v1.bootstrap_pb2 import Patches
from libs.proxy import node
from libs.proxy.node import Proxy
from libs.proxy.scope import ProxyScope
from libs.proxy.scoper import Scoper
from libs.translate import proxy_settings, synthesis
from libs.translate.apply import Upsert, apply, initial
from libs.xds import generate, outcomes, readable
from libs.xds.generate import outbound_plan
from libs.xds.types import BOOTSTRAP, CLUSTER, ENDPOINT, EXTENSION, LISTENER, ROUTE, Snapshot

KINDS: Mapping[str, tuple[str, type[Message]]] = {
    "clusters": (CLUSTER, Cluster),
    "listeners": (LISTENER, Listener),
    "routes": (ROUTE, RouteConfiguration),
    "endpoints": (ENDPOINT, ClusterLoadAssignment),
    "extensions": (EXTENSION, TypedExtensionConfig),
}
"""The keys of a rendering that hold Envoy's resources."""


class UnknownProxyError(LookupError):
    """The manifests have no such Pod; the message names it."""


class Rendering(NamedTuple):
    """What a proxy gets, before it is made readable."""

    snapshot: Snapshot
    problems: list[Problem]


def render(
    texts: Mapping[str, str], proxy: str, metadata: Mapping[str, object] | None = None
) -> dict[str, object]:
    """Return what the proxy of `<pod>.<namespace>` gets, as JSON has it.

    `texts` are manifests by file name; `metadata` is what the proxy's node would say besides. The
    keys are those of `KINDS`, each with a list of resources, `bootstrap` with what patches lay over
    that, `sources` with the references that each resource came from, and `problems`.

    Raises:
        UnknownProxyError: there is no such Pod.
        NodeError: `metadata` cannot be a node's.

    """
    return as_json(generated(texts, proxy, metadata or {}))


def generated(texts: Mapping[str, str], proxy: str, metadata: Mapping[str, object]) -> Rendering:
    """Return what `render` makes readable; it raises the same errors."""
    mesh, problems, resources = _built(texts)
    said = {"PROXY_CONFIG": _settings(resources, proxy, mesh.settings), **metadata}
    scope = Scoper().scope(mesh, find(mesh, proxy, said))
    snapshot = generate.snapshot(scope)
    found = {*problems, *conflicts(scope), *_without_effect(snapshot)}
    return Rendering(snapshot, sorted(found))


def as_json(rendering: Rendering) -> dict[str, object]:
    """Return the JSON of a rendering."""
    sources: dict[str, set[str]] = defaultdict(set)
    rendered: dict[str, object] = {}
    for key, (type_url, message) in KINDS.items():
        resources = rendering.snapshot.of(type_url).resources.values()
        rendered[key] = [readable.as_json(message.FromString(one.body)) for one in resources]
        for resource in resources:
            sources[resource.name].update(resource.sources)
    laid_over = rendering.snapshot.of(BOOTSTRAP).resources.values()
    rendered["bootstrap"] = [
        {"name": one.name, "laid_over": msgspec.json.decode(Patches.FromString(one.body).json)}
        for one in laid_over
    ]
    sources.update((one.name, set(one.sources)) for one in laid_over)
    rendered["sources"] = {name: sorted(refs) for name, refs in sorted(sources.items())}
    rendered["problems"] = msgspec.to_builtins(rendering.problems)
    return rendered


def build(texts: Mapping[str, str]) -> tuple[Mesh, list[Problem]]:
    """Return the mesh that manifests describe, and what is wrong with them."""
    mesh, problems, _ = _built(texts)
    return mesh, problems


def _built(texts: Mapping[str, str]) -> tuple[Mesh, list[Problem], list[Resource]]:
    findings = check_files(sorted(texts.items()))
    problems = [problem for found in findings for problem in (*found.errors, *found.warnings)]
    resources = [found.resource for found in findings if found.resource is not None]
    every = [*resources, *slices(resources)]
    step = apply(initial(MeshSettings()), [Upsert(resource) for resource in every])
    files = {found.ref: found.file for found in findings}
    problems += (
        structs.replace(problem, file=files.get(problem.ref, "")) for problem in step.problems
    )
    return step.state.mesh, problems, resources


def _settings(
    resources: Iterable[Resource], proxy: str, settings: MeshSettings
) -> Mapping[str, object]:
    """Return the settings of a proxy as its agent would say them, had its pod been injected."""
    name, _, namespace = proxy.rpartition(".")
    pods = (one.metadata for one in resources if isinstance(one, Pod))
    named = (it for it in pods if (it.name, it.namespace) == (name, namespace))
    return written(
        proxy_settings.effective(
            next(named, Metadata(name=name, namespace=namespace)),
            mesh=_of_mesh(resources, settings),
            configs=[one for one in resources if isinstance(one, ProxyConfig)],
            root_namespace=settings.root_namespace,
        )
    )


def _of_mesh(resources: Iterable[Resource], settings: MeshSettings) -> ProxyDefaults | None:
    wanted = settings.root_namespace, mesh_config.NAME
    for one in resources:
        if isinstance(one, ConfigMap) and (one.metadata.namespace, one.metadata.name) == wanted:
            config, _ = mesh_config.read(one)
            return proxy_settings.of_mesh(config) if config else None
    return None


def find(mesh: Mesh, name: str, metadata: Mapping[str, object]) -> Proxy:
    """Return the proxy of a workload, as it would connect."""
    pod, _, namespace = name.rpartition(".")
    workload = mesh.workloads.get(workload_key(namespace, pod))
    if workload is None:
        message = f"no Pod {pod!r} in namespace {namespace!r}: a proxy is named <pod>.<namespace>"
        raise UnknownProxyError(message)
    identity = SpiffeId(mesh.settings.trust_domain, namespace, workload.service_account)
    return node.parse(node_id(mesh, workload), metadata, identity, mesh)


def node_id(mesh: Mesh, workload: Workload) -> str:
    """Return the node id of a workload's proxy."""
    kind = "router" if workload.router else "sidecar"
    address = workload.addresses[0] if workload.addresses else "127.0.0.1"
    domain = f"{workload.namespace}.svc.{mesh.settings.cluster_domain}"
    return f"{kind}~{address}~{workload.name}.{workload.namespace}~{domain}"


def slices(resources: Iterable[Resource]) -> Iterable[Resource]:
    """Yield the endpoint slices that a cluster would have made."""
    by_namespace: dict[str, list[Resource]] = defaultdict(list)
    for resource in resources:
        by_namespace[resource.metadata.namespace].append(resource)
    for members in by_namespace.values():
        yield from synthesis.slices(members)


def _without_effect(snapshot: Snapshot) -> Iterable[Problem]:
    for outcome in outcomes.summed(snapshot.sets.values()):
        text = outcomes.finding(outcome)
        if text:
            path = f"spec.configPatches[{outcome.index}]"
            reason = reasons.PATCH_MISFIT if outcome.error else reasons.PATCH_WITHOUT_EFFECT
            yield Problem(outcome.ref, path, reason, text, Severity.WARNING)


def conflicts(scope: ProxyScope) -> Iterable[Problem]:
    """Yield what a proxy cannot listen for, because something older has the place."""
    for conflict in outbound_plan.conflicts(scope.outbound):
        text = outcomes.lost(conflict)
        yield Problem(conflict.lost, "", reasons.LISTENER_CONFLICT, text, severity=Severity.WARNING)
