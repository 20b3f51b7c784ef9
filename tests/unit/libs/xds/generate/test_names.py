from msgspec import Struct, structs

from libs.model.ids import service_key
from libs.model.service import Protocol, Resolution, Service
from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from libs.proxy.scoper import Scoper
from libs.xds.generate import name_set
from tests.support.mesh import endpoints, mesh, port, proxy, service, sidecar, vip

WEB = service("web")
PODS = service("pods", port(5432, Protocol.TCP), resolution=Resolution.ORIGINAL)
OTHER_NAME = service("other", resolution=Resolution.ALIAS, alias_of=WEB.host)


def entry(host: str, **fields: object) -> Service:
    made = service("e", host=host, addresses=(), resolution=Resolution.DNS)
    return structs.replace(
        made, key=service_key("shop", host, "e"), registry="External", name=host, **fields
    )


def table(*rows: Struct, **client: object) -> NameTable:
    client.setdefault("dns_capture", True)
    found = name_set(Scoper().scope(mesh(*rows), proxy(**client)))  # type: ignore[arg-type]
    (only,) = found.resources.values()
    return NameTable.FromString(only.body)


def ips(*rows: Struct, **client: object) -> dict[str, list[str]]:
    return {host: list(found.ips) for host, found in table(*rows, **client).table.items()}


def test_services_and_their_other_names_have_their_addresses() -> None:
    assert ips(WEB, OTHER_NAME) == {
        WEB.host: [vip(WEB.host)],
        OTHER_NAME.host: [vip(WEB.host)],
    }
    found = table(WEB).table[WEB.host]
    assert (found.registry, found.shortname, found.namespace) == ("Kubernetes", "web", "shop")


def test_a_headless_service_has_those_of_its_pods() -> None:
    assert ips(PODS, endpoints(PODS, "10.0.0.2", "10.0.0.1")) == {
        PODS.host: ["10.0.0.1", "10.0.0.2"]
    }


def test_automatic_addresses_count_where_there_are_no_others_and_by_family() -> None:
    auto = ("240.240.0.1", "2001:2::f0f0:1")
    row = entry("a.example.com", auto_addresses=auto)
    assert ips(row) == {"a.example.com": ["240.240.0.1"]}
    assert ips(row, addresses=("10.0.0.1", "fd00::1")) == {"a.example.com": list(auto)}
    assert ips(row, addresses=("fd00::1",)) == {"a.example.com": ["2001:2::f0f0:1"]}
    own = entry("a.example.com", addresses=("10.9.9.9", "10.8.0.0/16"), auto_addresses=auto)
    assert ips(own) == {"a.example.com": ["10.9.9.9"]}
    found = table(row).table["a.example.com"]
    assert (found.registry, found.shortname, found.namespace) == ("External", "", "shop")


def test_hosts_without_an_address_are_the_networks_to_answer() -> None:
    assert ips(entry("a.example.com"), entry("b.example.com", addresses=("10.8.0.0/16",))) == {}


def test_only_what_the_client_sees() -> None:
    far = service("far", namespace="far")
    assert set(ips(WEB, far, sidecar("s", "./*"))) == {WEB.host}


def test_nobody_is_told_who_does_not_ask() -> None:
    scope = Scoper().scope(mesh(WEB), proxy())
    assert name_set(scope).resources == {}
