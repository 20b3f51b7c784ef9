"""Who a proxy's peers are, for balancing by zones."""

from msgspec import structs

from libs.model.endpoint import Endpoint, EndpointSet, Health, Locality
from libs.model.mesh import Mesh
from libs.proxy.node import ProxyType
from libs.proxy.own_cluster import NAME
from libs.proxy.scope import EndpointScope, ProxyScope
from libs.proxy.scoper import Scoper
from tests.support.mesh import mesh, port, proxy, service, workload

HERE = Locality("north", "a", "rack")
ASKS = {"ENABLE_SELF_DISCOVERY": "true"}
LABELS = {"app": "client", "pod-template-hash": "new"}
OWN = service("client", port(80), port(81, name="other"), selector={"app": "client"})


def endpoint(address: str, **fields: object) -> Endpoint:
    usual = {
        "port_name": OWN.ports[0].name,
        "locality": HERE,
        "workload_name": "client",
        "labels": LABELS,
    }
    return Endpoint(address=address, port=80, **(usual | fields))  # type: ignore[arg-type]


def world(*found: Endpoint) -> Mesh:
    own = workload("client", labels=LABELS, locality=HERE, workload_name="client")
    return mesh(OWN, own, EndpointSet(key=OWN.key, endpoints=found))


def scope(now: Mesh, scoper: Scoper | None = None, **client: object) -> ProxyScope:
    usual: dict[str, object] = {"metadata": ASKS, "labels": LABELS, "locality": HERE}
    return (scoper or Scoper()).scope(now, proxy(**(usual | client)))


def peers(*found: Endpoint, **client: object) -> list[str]:
    own = scope(world(*found), **client).endpoints[NAME]
    assert isinstance(own, EndpointScope)
    return [one.address for one in own.endpoints]


def test_peers_are_of_the_same_region_deployment_and_revision() -> None:
    assert peers(
        endpoint("10.0.0.1"),
        endpoint("10.0.0.2", locality=Locality("north", "b")),
        endpoint("10.0.0.3", locality=Locality("south", "a")),
        endpoint("10.0.0.4", workload_name="other"),
        endpoint("10.0.0.5", labels={**LABELS, "pod-template-hash": "old"}),
        endpoint("10.0.0.6", port_name="other"),
        endpoint("10.0.0.7", health=Health.DRAINING),
    ) == ["10.0.0.1", "10.0.0.2"]


def test_only_a_sidecar_that_asks_has_an_own_cluster() -> None:
    now = world(endpoint("10.0.0.1"))
    assert NAME in scope(now).endpoints
    assert NAME not in scope(now, metadata={}).endpoints
    assert NAME not in scope(now, metadata={"ENABLE_SELF_DISCOVERY": "no"}).endpoints
    assert NAME not in scope(now, type=ProxyType.ROUTER).endpoints


def test_a_workload_of_no_service_has_no_peers() -> None:
    own = workload("client", labels=LABELS, locality=HERE)
    found = scope(mesh(own))
    assert found.endpoints[NAME].endpoints == ()
    assert found.inbound.own is not None
    assert found.inbound.own.locality == HERE


def test_what_did_not_move_is_the_same_object() -> None:
    scoper, before = Scoper(), world(endpoint("10.0.0.1"))
    first = scope(before, scoper).endpoints
    unrelated = mesh(service("else", port(80)), before=before)
    again = scope(unrelated, scoper).endpoints
    assert again[NAME] is first[NAME]
    assert scope(unrelated, scoper).endpoints is again
    row = EndpointSet(key=OWN.key, endpoints=(endpoint("10.0.0.1"), endpoint("10.0.0.2")))
    moved = scope(mesh(row, before=unrelated), scoper).endpoints
    assert [one.address for one in moved[NAME].endpoints] == ["10.0.0.1", "10.0.0.2"]


def test_proxies_of_other_places_are_other_classes() -> None:
    now = world(endpoint("10.0.0.1"))
    elsewhere = structs.replace(now.workloads["shop/client"], locality=Locality("north", "b"))
    assert scope(now).inbound_digest != scope(mesh(elsewhere, before=now)).inbound_digest
