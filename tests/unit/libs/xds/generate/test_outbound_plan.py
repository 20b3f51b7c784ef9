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
