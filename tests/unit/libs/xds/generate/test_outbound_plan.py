from msgspec import structs

from libs.model.service import Protocol, Resolution, Service
from libs.model.sidecar import EgressListener, HostPattern
from libs.model.traffic import ConnectionPool, TrafficPolicy
from libs.proxy.scoper import Scoper
from libs.xds.generate.outbound_plan import Plan, plan
from tests.support.mesh import host_policy, mesh, port, proxy, service, sidecar

TCP = port(5432, Protocol.TCP)


def entry(name: str, **fields: object) -> Service:
    """Return a service without an address of its own."""
    fields.setdefault("resolution", Resolution.DNS)
    return service(name, TCP, registry="External", addresses=(), **fields)


def planned(*rows: object) -> Plan:
    return plan(Scoper().scope(mesh(*rows), proxy()).outbound)  # type: ignore[arg-type]


def clusters(found: Plan, number: int) -> list[str]:
    chains = [chain for one in found.listeners if one.port == number for chain in one.chains]
    return [name for chain in chains for name, _ in chain.clusters]


def test_of_services_for_everybody_the_oldest_keeps_a_port() -> None:
    found = planned(entry("older", created=1), entry("newer", created=2))
    assert "older" in "".join(clusters(found, 5432))
    assert [conflict.lost for conflict in found.conflicts] == ["Service/shop/newer"]


def test_what_not_everybody_sees_comes_before_what_is_older() -> None:
    own = entry("own", created=2, export_to=(".",))
    found = planned(entry("older", created=1), own)
    assert "own" in "".join(clusters(found, 5432))
    assert [conflict.lost for conflict in found.conflicts] == ["Service/shop/older"]


def test_connections_of_requests_obey_their_policy_where_a_sidecar_takes_them_for_streams() -> None:
    web = service("web")
    pool = TrafficPolicy(connection_pool=ConnectionPool(tcp_idle_timeout=60_000))
    everything = (HostPattern("*", "*"),)
    plain = sidecar("s", egress=(EgressListener(port=port(80, Protocol.TCP), hosts=everything),))
    found = planned(web, plain, host_policy("p", web.host, policy=pool))
    chains = [chain for one in found.listeners for chain in one.chains]
    assert [chain.pool for chain in chains] == [pool.connection_pool]


WEB = service("web")
NEWER = service("newer", TCP, created=2)
BASE = service("base", TCP, created=1)


def sockets(*egress: EgressListener, **client: object) -> dict[str, bool]:
    """Return where listeners are, each with whether it is a real socket."""
    rows = (WEB, BASE, NEWER, sidecar("s", egress=egress))
    found = plan(Scoper().scope(mesh(*rows), proxy(**client)).outbound)  # type: ignore[arg-type]
    return {f"{one.address}:{one.port}": one.bound for one in found.listeners}


def test_a_sidecar_that_captures_nothing_has_a_socket_for_each_port_of_its_services() -> None:
    rest = EgressListener(hosts=(HostPattern("*", "*"),), bound=True)
    assert sockets(rest) == {"127.0.0.1:80": True, "127.0.0.1:5432": True}
    assert sockets(structs.replace(rest, bind="127.0.0.9")) == {
        "127.0.0.9:80": True,
        "127.0.0.9:5432": True,
    }
    assert not any(sockets(structs.replace(rest, bound=False)).values())


def test_but_for_none_that_it_may_not_open_or_that_has_a_listener() -> None:
    everything = (HostPattern("*", "*"),)
    rest = EgressListener(hosts=everything, bound=True)
    assert sockets(rest, unprivileged=True) == {"127.0.0.1:5432": True}
    web = EgressListener(port=port(80), bind="127.0.0.7", bound=True, hosts=everything)
    assert sockets(web, rest) == {"127.0.0.1:5432": True, "127.0.0.7:80": True}


def test_services_share_the_sockets_of_a_sidecar_as_they_share_other_addresses() -> None:
    rest = EgressListener(hosts=(HostPattern("*", "*"),), bound=True)
    found = planned(WEB, NEWER, BASE, sidecar("s", egress=(rest,)))
    assert clusters(found, 5432) == [f"outbound|5432||{BASE.host}"]
    assert [(conflict.lost, conflict.kept) for conflict in found.conflicts] == [
        (NEWER.ref, BASE.ref)
    ]


def test_both_loopbacks_are_bound_where_a_pod_has_both_families() -> None:
    rest = EgressListener(hosts=(HostPattern("*", "*"),), bound=True)
    both = proxy(addresses=("10.244.0.9", "fd00::9"))
    found = plan(Scoper().scope(mesh(WEB, sidecar("s", egress=(rest,))), both).outbound)
    assert [(one.address, one.others) for one in found.listeners] == [("127.0.0.1", ("::1",))]
