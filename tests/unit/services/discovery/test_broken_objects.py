"""One broken object of each kind, in every position: the rest of the mesh is served.

The broken one keeps its last good state, and a problem says what is wrong with it. What proxies get
is compared with what they get from a mesh in which nothing is broken.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
import yaml

from libs.api.registry import Kind
from libs.model.ids import ref
from libs.model.mesh import Mesh
from libs.proxy.scoper import Scoper
from libs.translate.apply import Step
from libs.xds import generate
from libs.xds.types import Snapshot as Whole
from services.ctl.render import find as proxy_of
from tests.golden.mutants import Raw
from tests.support.broken import Fault, about, read_kinds, sample
from tests.support.ingested import in_a_folder, in_one_file, of_files, of_objects, placed, steps

WORLD = """
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {serviceAccountName: client, containers: [{name: app}]}
status:
  phase: Running
  podIP: 10.244.77.9
  podIPs: [{ip: 10.244.77.9}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: v1
kind: Pod
metadata: {name: caller, namespace: shop, labels: {app: caller}}
spec: {serviceAccountName: caller, containers: [{name: app}]}
status:
  phase: Running
  podIP: 10.244.77.10
  podIPs: [{ip: 10.244.77.10}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: v1
kind: Pod
metadata:
  name: gw
  namespace: shop
  labels: {istio: neighbour}
  annotations: {inject.istio.io/templates: gateway}
spec: {serviceAccountName: gw, containers: [{name: istio-proxy}]}
status:
  phase: Running
  podIP: 10.244.77.11
  podIPs: [{ip: 10.244.77.11}]
  conditions: [{type: Ready, status: "True"}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: neighbour, namespace: shop}
spec:
  selector: {istio: neighbour}
  servers: [{port: {number: 80, protocol: HTTP, name: http}, hosts: ["*"]}]
---
apiVersion: v1
kind: Service
metadata: {name: neighbour, namespace: shop}
spec: {clusterIP: 10.96.77.10, selector: {app: neighbour}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: neighbour, namespace: shop}
spec:
  hosts: [neighbour.shop.svc.cluster.local]
  gateways: [mesh, neighbour]
  http: [{timeout: 1s, route: [{destination: {host: neighbour.shop.svc.cluster.local}}]}]
"""
Snapshot = Mapping[str, Mapping[tuple[str, str], str]]
PROXIES: Mapping[str, Mapping[str, object]] = {
    "client.shop": {},
    "caller.shop": {"GENERATOR": "grpc"},
    "gw.shop": {},
}
CASES = [
    (kind, fault) for kind in read_kinds() for fault in Fault if sample(kind, fault) is not None
]
_IDS = [f"{kind.name}-{fault}" for kind, fault in CASES]


@cache
def _world() -> list[Raw]:
    return list(yaml.safe_load_all(WORLD))


def _moved() -> list[Raw]:
    """The world after its neighbour was changed."""
    *rest, routing = yaml.safe_load_all(WORLD)
    routing["spec"]["http"][0]["timeout"] = "2s"
    return [*rest, routing]


def _snapshot(mesh: Mesh) -> Snapshot:
    """What a sidecar, a gRPC program and a gateway get."""
    scoper = Scoper()
    scopes = {
        proxy: scoper.scope(mesh, proxy_of(mesh, proxy, metadata))
        for proxy, metadata in PROXIES.items()
    }
    return {proxy: _versions(generate.snapshot(scope)) for proxy, scope in scopes.items()}


def _versions(snapshot: Whole) -> Mapping[tuple[str, str], str]:
    return {
        (type_url, name): one.version
        for type_url, whole in snapshot.sets.items()
        for name, one in whole.resources.items()
    }


def _reference(document: Raw, kind: Kind) -> str:
    metadata: dict[str, Any] = document["metadata"]
    namespace = metadata.get("namespace", "default") if kind.namespaced else ""
    return ref(kind.name, namespace, metadata["name"])


def _said(step: Step, reference: str) -> set[tuple[str, str, str]]:
    return {(it.path, it.reason, it.text) for it in about(step.problems, reference)}


def _found(kind: Kind, fault: Fault) -> tuple[Raw, Raw]:
    found = sample(kind, fault)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("layout", "where"),
    [
        (in_one_file, "first"),
        (in_one_file, "middle"),
        (in_one_file, "last"),
        (in_a_folder, "middle"),
    ],
)
@pytest.mark.parametrize(("kind", "fault"), CASES, ids=_IDS)
async def test_what_breaks_later_keeps_its_last_good_state_and_the_rest_moves_on(
    kind: Kind,
    fault: Fault,
    layout: Any,  # noqa: ANN401
    where: str,
) -> None:
    good, bad = _found(kind, fault)
    before = of_files(layout(placed(_world(), good, where)))
    broken = of_files(layout(placed(_moved(), bad, where)))
    healthy = of_files(layout(placed(_moved(), good, where)))
    first, then = await steps(before, broken)
    (wanted,) = await steps(healthy)
    reference = _reference(good, kind)
    assert _said(then, reference) - _said(first, reference)
    assert then.state.resources.keys() == wanted.state.resources.keys()
    assert _snapshot(then.state.mesh) == _snapshot(wanted.state.mesh)
    earlier, now = _snapshot(first.state.mesh), _snapshot(then.state.mesh)
    assert {who for who in PROXIES if now[who] != earlier[who]} == PROXIES.keys()


@pytest.mark.parametrize("where", ["first", "last"])
@pytest.mark.parametrize(("kind", "fault"), CASES, ids=_IDS)
async def test_what_was_never_good_is_as_if_it_were_not_there(
    kind: Kind, fault: Fault, where: str
) -> None:
    _, bad = _found(kind, fault)
    (broken,) = await steps(of_files(in_one_file(placed(_world(), bad, where))))
    (without,) = await steps(of_files(in_one_file(_world())))
    assert about(broken.problems, _reference(bad, kind))
    assert _snapshot(broken.state.mesh) == _snapshot(without.state.mesh)


@pytest.mark.parametrize(("kind", "fault"), CASES, ids=_IDS)
async def test_an_object_that_breaks_in_the_cluster_keeps_its_last_good_state(
    kind: Kind, fault: Fault
) -> None:
    good, bad = _found(kind, fault)
    before = of_objects([*_world(), good])
    broken = of_objects([bad, *_moved()])
    first, then = await steps(before, broken)
    (wanted,) = await steps(of_objects([*_moved(), good]))
    reference = _reference(good, kind)
    assert _said(then, reference) - _said(first, reference)
    assert _snapshot(then.state.mesh) == _snapshot(wanted.state.mesh)


def test_every_kind_is_broken_in_some_way() -> None:
    assert {kind.name for kind, _ in CASES} == {kind.name for kind in read_kinds()}
    judged = {kind.name for kind, fault in CASES if fault is Fault.VALIDATE}
    free = {"Namespace", "Node", "ServiceAccount", "Secret", "IngressClass"}
    assert {kind.name for kind in read_kinds()} - judged == free
