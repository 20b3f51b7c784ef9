"""Whose pool counts at the workload that is called: its own namespace's, then the root's."""

import pytest

from libs.model.service import Protocol, ServicePort
from libs.model.settings import MeshSettings
from libs.model.traffic import ConnectionPool, HostPolicy, TrafficPolicy
from libs.proxy.inbound import InboundScoper, inbound_scope
from tests.support import mesh as rows

HOST = rows.fqdn("web")
LABELS = {"app": "web"}
POD = rows.workload("web-1", labels=LABELS)
WEB = rows.service("web", ServicePort(80, "http", Protocol.HTTP, 8080), selector=LABELS)
PROXY = rows.proxy("web-1")


def limit(connections: int, at_port: int = 0) -> TrafficPolicy:
    said = TrafficPolicy(connection_pool=ConnectionPool(max_connections=connections))
    return TrafficPolicy(ports={at_port: said}) if at_port else said


OWN = rows.host_policy("own", HOST, policy=limit(1))
WILD = rows.host_policy("wild", "*.shop.svc.cluster.local", policy=limit(2))
ROOT = rows.host_policy("root", HOST, namespace="istio-system", policy=limit(3))
OTHERS = rows.host_policy("others", HOST, namespace="other", policy=limit(4))
PRIVATE = rows.host_policy(
    "private", HOST, namespace="istio-system", policy=limit(5), export_to=(".",)
)
CALLERS = rows.host_policy("callers", HOST, policy=limit(6), selector=LABELS, export_to=(".",))
PORT = rows.host_policy("port", HOST, policy=limit(7, at_port=80))
ANOTHER_PORT = rows.host_policy("another", HOST, policy=limit(8, at_port=8080))


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ((), None),
        ((OWN,), 1),
        ((WILD, OWN), 1),
        ((WILD,), 2),
        ((WILD, ROOT), 2),
        ((ROOT,), 3),
        ((OTHERS,), None),
        ((PRIVATE,), None),
        ((CALLERS,), None),
        ((CALLERS, ROOT), 3),
        ((PORT,), 7),
        ((ANOTHER_PORT,), None),
    ],
)
def test_pools(policies: tuple[HostPolicy, ...], expected: int | None) -> None:
    [port] = inbound_scope(rows.mesh(POD, WEB, *policies), PROXY).ports
    assert (port.pool.max_connections if port.pool else None) == expected
    assert bool(port.pool_refs) is (expected is not None)


def test_policies_of_others_make_no_scope_anew() -> None:
    scoper = InboundScoper()
    mesh = rows.mesh(POD, WEB, OWN, MeshSettings())
    scope = scoper.scope(mesh, PROXY)
    changed = rows.mesh(POD, WEB, OWN, OTHERS, mesh.settings)
    assert scoper.scope(changed, PROXY) is scope
    [port] = scoper.scope(rows.mesh(POD, WEB, ROOT, mesh.settings), PROXY).ports
    assert port.pool == limit(3).connection_pool


def test_what_no_policy_says_the_mesh_may() -> None:
    settings = MeshSettings(default_policy=limit(9))
    [port] = inbound_scope(rows.mesh(POD, WEB, settings), PROXY).ports
    assert (port.pool, port.pool_refs) == (limit(9).connection_pool, ())
    [port] = inbound_scope(rows.mesh(POD, WEB, OWN, settings), PROXY).ports
    assert port.pool == limit(1).connection_pool
