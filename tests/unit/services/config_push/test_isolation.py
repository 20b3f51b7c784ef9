"""A generator that fails on one thing: that thing stays as it was, everything else moves on."""

import pytest

from libs.model.mesh import Mesh
from libs.proxy.node import ProxyType
from libs.proxy.scope import ProxyScope
from libs.proxy.scoper import Scoper
from libs.xds.types import CLUSTER, ENDPOINT, LISTENER, ROUTE, ResourceSet, resource_set
from services.config_push.isolation import MAX_ATTEMPTS, without_guilty
from tests.support.mesh import (
    endpoints,
    fqdn,
    gateway,
    mesh,
    proxy,
    routing,
    server,
    service,
)
from tests.support.push_scopes import scope_of
from tests.support.snapshots import item

SERVICES = [service(f"s{number}") for number in range(20)]
ROUTINGS = [routing(f"v{number}", fqdn(f"s{number}")) for number in range(20)]
WORLD = mesh(*SERVICES, *ROUTINGS, *(endpoints(one, "10.0.0.1") for one in SERVICES))


class Generator:
    """Makes a resource of each routing, service or endpoint scope, and fails on some names."""

    def __init__(self, type_url: str, *bad: str, body: str = "1") -> None:
        self.type_url = type_url
        self.bad = set(bad)
        self.body = body
        self.runs = 0

    def __call__(self, scope: ProxyScope) -> ResourceSet:
        self.runs += 1
        names = {
            ROUTE: [one.name for one in scope.outbound.routings],
            CLUSTER: [one.service.name for one in scope.outbound.services],
            ENDPOINT: list(scope.endpoints),
        }[self.type_url]
        if self.bad.intersection(names):
            raise RuntimeError
        return resource_set(self.type_url, [item(self.type_url, name, self.body) for name in names])


@pytest.mark.parametrize("bad", [("v3",), ("v0", "v19"), ("v4", "v5", "v6")])
def test_guilty_routings_are_found_and_left_out(bad: tuple[str, ...]) -> None:
    generator = Generator(ROUTE, *bad)
    found = without_guilty(generator, scope_of(WORLD), None)

    assert found.resources is not None
    assert found.resources.resources.keys() == {one.name for one in ROUTINGS} - set(bad)
    assert set(found.guilty) == {f"VirtualService/shop/{name}" for name in bad}
    assert generator.runs <= MAX_ATTEMPTS


def test_a_guilty_port_of_a_gateway_is_left_out_alone() -> None:
    row = gateway("edge", server(80), server(81), server(82))
    scope = Scoper().scope(mesh(row), proxy(type=ProxyType.ROUTER))

    def generate(given: ProxyScope) -> ResourceSet:
        ports = [listener.port for listener in given.outbound.gateways]
        if 81 in ports:
            raise RuntimeError
        return resource_set(LISTENER, [item(LISTENER, str(port), "1") for port in ports])

    found = without_guilty(generate, scope, None)
    assert found.resources is not None
    assert list(found.resources.resources) == ["80", "82"]
    assert found.guilty == ("Gateway/shop/edge",)


def test_what_came_from_the_guilty_keeps_its_last_good_state() -> None:
    scope = scope_of(WORLD)
    last_good = Generator(ROUTE)(scope)
    found = without_guilty(Generator(ROUTE, "v3", body="2"), scope, last_good)

    assert found.resources is not None
    assert found.resources.resources["v3"].body == b"v3:1"
    assert found.resources.resources["v4"].body == b"v4:2"
    assert len(found.resources.resources) == 20


def test_a_guilty_service_is_found() -> None:
    found = without_guilty(Generator(CLUSTER, "s7"), scope_of(WORLD), None)

    assert found.resources is not None
    assert len(found.resources.resources) == 19
    assert found.guilty == ("Service/shop/s7",)


def test_guilty_endpoints_are_found() -> None:
    bad = f"outbound|80||{fqdn('s7')}"
    found = without_guilty(Generator(ENDPOINT, bad), scope_of(WORLD), None)

    assert found.resources is not None
    assert found.resources.resources.keys() >= {f"outbound|80||{fqdn('s8')}"}
    assert bad not in found.resources.resources


def test_what_fails_without_anything_is_nobodys_fault() -> None:
    def broken(_scope: ProxyScope) -> ResourceSet:
        raise RuntimeError

    assert without_guilty(broken, scope_of(WORLD), None).resources is None
    assert without_guilty(broken, scope_of(Mesh()), None).resources is None


def test_the_search_gives_up_in_time() -> None:
    every_other = [f"v{number}" for number in range(0, 200, 2)]
    many = mesh(*(routing(f"v{number}", fqdn("s1")) for number in range(200)), before=WORLD)
    generator = Generator(ROUTE, *every_other)

    assert without_guilty(generator, scope_of(many), None).resources is None
    assert generator.runs <= MAX_ATTEMPTS
