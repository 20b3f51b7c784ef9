"""For each table: a change of it alters no type that the table of `affects` leaves out."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from libs.model.endpoint import Endpoint, EndpointSet, Locality
from libs.model.ids import ref, workload_key
from libs.model.mesh import Mesh, Table
from libs.model.security import AccessRule, Action, MtlsMode
from libs.model.service import Protocol, Resolution, ServicePort
from libs.model.settings import MeshSettings
from libs.model.telemetry import AccessLog
from libs.model.traffic import (
    ConnectionPool,
    ConsistentHash,
    Destination,
    HttpMatch,
    HttpRoute,
    LoadBalancing,
    Simple,
    StreamMatch,
    StreamRoute,
    Subset,
    TrafficPolicy,
    WeightedDestination,
)
from libs.model.workload import Namespace
from libs.proxy.node import Interception, Proxy
from libs.proxy.scoper import Scoper
from libs.xds import affects
from libs.xds.generate import GENERATORS
from tests.support import mesh as rows

SELECTOR = {"app": "a"}
NAMES = st.sampled_from(["a", "b"])
VERSIONS = st.sampled_from(["v1", "v2"])
PROXIES = [
    rows.proxy("a-1"),
    structs.replace(
        rows.proxy("a-1"),
        interception=Interception.NONE,
        addresses=("127.0.0.9",),
        http_proxy_port=99,
    ),
]


def destination(name: str, subset: str = "", port: int = 0) -> WeightedDestination:
    return WeightedDestination(Destination(rows.fqdn(name), subset, port), 100)


def http_route(name: str, subset: str, version: str) -> HttpRoute:
    matches = (HttpMatch(source_labels={"version": version} if version else {}),)
    return HttpRoute(name=name, matches=matches, destinations=(destination(name, subset, 80),))


def stream_route(name: str, version: str) -> StreamRoute:
    matches = (StreamMatch(port=90, source_labels={"version": version} if version else {}),)
    return StreamRoute(matches, (destination(name, "v1", 90),))


SERVICES = st.builds(
    lambda name, protocol, resolution, created: rows.service(
        name,
        ServicePort(80, "http", Protocol.HTTP, 8080),
        ServicePort(90, "tcp", protocol),
        resolution=resolution,
        selector={"app": name},
        created=created,
    ),
    NAMES,
    st.sampled_from([Protocol.TCP, Protocol.GRPC, Protocol.AUTO]),
    st.sampled_from([Resolution.ENDPOINTS, Resolution.ORIGINAL, Resolution.DNS]),
    st.integers(0, 2),
)
ENDPOINTS = st.builds(
    lambda name, addresses, port, mtls, version: EndpointSet(
        key=rows.service(name).key,
        endpoints=tuple(
            Endpoint(
                address=f"10.244.0.{number}",
                port=port if port_name == "http" else 90,
                port_name=port_name,
                workload=workload_key("shop", f"{name}-{number}"),
                namespace="shop",
                service_account=f"{name}{number % 2}",
                labels={"version": version},
                locality=Locality(region=f"r{number}"),
                mtls=mtls,
            )
            for number in addresses
            for port_name in ("http", "tcp")
        ),
    ),
    NAMES,
    st.lists(st.integers(1, 4), max_size=3, unique=True).map(sorted),
    st.sampled_from([8080, 8081]),
    st.booleans(),
    VERSIONS,
)
WORKLOADS = st.builds(
    lambda version, region, account: rows.workload(
        "a-1",
        labels={"app": "a", "version": version},
        locality=Locality(region=region),
        service_account=account,
    ),
    VERSIONS,
    st.sampled_from(["r1", "r2"]),
    st.sampled_from(["a0", "other"]),
)
ROUTINGS = st.builds(
    lambda name, target, subset, version, tcp: rows.routing(
        "r",
        rows.fqdn(name),
        http=(http_route(target, subset, version),),
        tcp=(stream_route(target, version),) if tcp else (),
    ),
    NAMES,
    NAMES,
    st.sampled_from(["", "v1"]),
    VERSIONS | st.just(""),
    st.booleans(),
)
POLICIES = st.builds(
    lambda name, balancing, limit, selector: rows.host_policy(
        "d",
        rows.fqdn(name),
        selector=selector,
        policy=TrafficPolicy(
            load_balancing=balancing,
            connection_pool=ConnectionPool(max_connections=limit, tcp_idle_timeout=limit),
        ),
        subsets=(Subset("v1", {"version": "v1"}),),
    ),
    NAMES,
    st.sampled_from(
        [
            None,
            LoadBalancing(simple=Simple.RANDOM),
            LoadBalancing(consistent_hash=ConsistentHash(source_ip=True)),
            LoadBalancing(consistent_hash=ConsistentHash(header="x")),
        ]
    ),
    st.sampled_from([None, 7000]),
    st.sampled_from([None, {"version": "v1"}]),
)
MODES = st.sampled_from(MtlsMode)
PEERS = st.builds(
    lambda name, namespace, mode, port: rows.peer_policy(
        name,
        namespace,
        mode=mode,
        selector=SELECTOR if name == "narrow" else {},
        ports={8080: port} if name == "narrow" else {},
    ),
    st.sampled_from(["wide", "narrow"]),
    st.sampled_from(["shop", "istio-system"]),
    MODES,
    MODES,
)
ACCESS = st.builds(
    lambda name, action, rules: rows.access_policy(name, action=action, rules=rules),
    NAMES,
    st.sampled_from(Action),
    st.sampled_from([(), (AccessRule(),)]),
)
SETTINGS = st.builds(
    lambda domain, log, timeout, cluster, any_outbound: MeshSettings(
        trust_domain=domain,
        access_log=AccessLog(path=log),
        connect_timeout=timeout,
        cluster_id=cluster,
        allow_any_outbound=any_outbound,
    ),
    st.sampled_from(["td", "cluster.local"]),
    st.sampled_from(["", "/dev/stdout"]),
    st.sampled_from([1000, 2000]),
    st.sampled_from(["Kubernetes", "east"]),
    st.booleans(),
)
NAMESPACES = st.builds(
    lambda labels: Namespace(name="shop", ref=ref("Namespace", "", "shop"), labels=labels),
    st.sampled_from([{}, {"istio-injection": "enabled"}]),
)
ROWS: dict[Table, st.SearchStrategy[Struct]] = {
    Table.SETTINGS: SETTINGS,
    Table.NAMESPACE: NAMESPACES,
    Table.SERVICE: SERVICES,
    Table.ENDPOINTS: ENDPOINTS,
    Table.WORKLOAD: WORKLOADS,
    Table.ROUTING: ROUTINGS,
    Table.HOST_POLICY: POLICIES,
    Table.PEER_POLICY: PEERS,
    Table.ACCESS_POLICY: ACCESS,
}
MESHES = st.tuples(*(st.lists(row, max_size=3) for row in ROWS.values())).map(
    lambda tables: rows.mesh(*(row for table in tables for row in table))
)


def altered(before: Mesh, after: Mesh, proxy: Proxy) -> set[str]:
    """Return the types of which the proxy's resources differ, made from nothing each time."""
    old, new = (Scoper().scope(mesh, _known(mesh, proxy)) for mesh in (before, after))
    return {url for url, make in GENERATORS.items() if make(old).version != make(new).version}


def _known(mesh: Mesh, proxy: Proxy) -> Proxy:
    """Return the proxy as its workload in the mesh makes it known."""
    workload = mesh.workloads.get(proxy.workload)
    if workload is None:
        return proxy
    return structs.replace(proxy, labels=workload.labels, locality=workload.locality)


def changed(mesh: Mesh, table: Table, row: Struct | None) -> Mesh:
    """Return the mesh with one row of a table more, or other, or without the table's rows."""
    if row is not None:
        return mesh.evolve([(rows.row_key(row), row)])
    return Mesh(mesh.version + 1, {**mesh.tables, table: {}})


def test_every_table_has_an_entry() -> None:
    for table in Table:
        assert affects.types(frozenset({table})) <= GENERATORS.keys()
    assert ROWS.keys() == set(Table)


def test_several_tables_affect_what_each_of_them_does() -> None:
    both = frozenset({Table.ACCESS_POLICY, Table.ROUTING})
    each = [affects.types(frozenset({table})) for table in both]
    assert affects.types(both) == frozenset().union(*each)
    assert affects.types(frozenset()) == frozenset()


@pytest.mark.parametrize("table", Table)
def test_a_change_alters_no_other_type(table: Table) -> None:
    allowed = affects.types(frozenset({table}))

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(MESHES, st.none() | ROWS[table], st.sampled_from(PROXIES))
    def check(before: Mesh, row: Struct | None, proxy: Proxy) -> None:
        assert altered(before, changed(before, table, row), proxy) <= allowed

    check()
