"""Which names an application may write, and whose addresses it gets."""

import pytest

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from services.agent.dns import names
from services.agent.dns.names import Names

DOMAIN = "shop.svc.cluster.local"


def table() -> NameTable:
    made = NameTable()
    rows = (
        ("web.shop.svc.cluster.local", "Kubernetes", "shop", ["10.0.0.1", "fd00::1"]),
        ("db.data.svc.cluster.local", "Kubernetes", "data", ["10.0.0.2"]),
        ("pod-0.db.data.svc.cluster.local", "Kubernetes", "data", ["10.9.0.2"]),
        ("far.shop.svc.other.local", "Kubernetes", "shop", ["10.0.0.3"]),
        ("api.example.com", "External", "shop", ["240.240.0.1"]),
        ("*.wild.example.com", "External", "shop", ["240.240.0.2"]),
        ("*.deep.wild.example.com", "External", "shop", ["240.240.0.3"]),
        ("Odd.Example.COM", "External", "shop", ["240.240.0.4", "not an address"]),
        ("web.shop", "External", "shop", ["240.240.0.5"]),
    )
    for host, registry, namespace, ips in rows:
        made.table[host].registry = registry
        made.table[host].namespace = namespace
        made.table[host].ips.extend(ips)
    return made


@pytest.fixture(scope="module")
def built() -> Names:
    return names.build(table(), domain=DOMAIN, search=[DOMAIN, "svc.cluster.local"])


@pytest.mark.parametrize(
    ("asked", "address", "alias"),
    [
        ("web.shop.svc.cluster.local", "10.0.0.1", ""),
        ("web", "10.0.0.1", ""),
        ("web.shop.svc", "10.0.0.1", ""),
        ("web.shop.svc.cluster", "10.0.0.1", ""),
        ("db.data", "10.0.0.2", ""),
        ("db.data.svc", "10.0.0.2", ""),
        ("pod-0.db.data", "10.9.0.2", ""),
        ("api.example.com", "240.240.0.1", ""),
        ("odd.example.com", "240.240.0.4", ""),
        # the first search domain behind a name
        ("db.data.shop.svc.cluster.local", "10.0.0.2", "db.data"),
        ("db.data.svc.shop.svc.cluster.local", "10.0.0.2", "db.data.svc"),
        ("api.example.com.shop.svc.cluster.local", "240.240.0.1", "api.example.com"),
        ("x.wild.example.com.shop.svc.cluster.local", "240.240.0.2", "x.wild.example.com"),
        # wildcards: any number of labels, the longest first
        ("x.wild.example.com", "240.240.0.2", ""),
        ("y.x.wild.example.com", "240.240.0.2", ""),
        ("x.deep.wild.example.com", "240.240.0.3", ""),
        # what is declared goes before what is derived
        ("web.shop", "240.240.0.5", ""),
    ],
)
def test_names_are_found(built: Names, asked: str, address: str, alias: str) -> None:
    found = built.find(asked)
    assert found is not None
    assert (found.host.ipv4, found.alias) == ((address,), alias)


@pytest.mark.parametrize(
    "asked",
    [
        "",
        "db",  # another namespace
        "far",  # another cluster
        "far.shop",
        "wild.example.com",
        "example.com",
        "unknown.shop.svc.cluster.local",
        "api.example.com.svc.cluster.local",  # not the first search domain
        "ap.api.example.com",
    ],
)
def test_other_names_are_not(built: Names, asked: str) -> None:
    assert built.find(asked) is None


def test_addresses_go_by_family(built: Names) -> None:
    found = built.find("web")
    assert found is not None
    assert (found.host.of(1), found.host.of(28), found.host.of(15)) == (
        ("10.0.0.1",),
        ("fd00::1",),
        (),
    )


def test_without_search_domains_there_are_no_completed_names() -> None:
    built = names.build(table(), domain=DOMAIN)
    assert built.find("db.data") is not None
    assert built.find("db.data.shop.svc.cluster.local") is None
