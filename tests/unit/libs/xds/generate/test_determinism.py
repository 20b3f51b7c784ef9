"""Whatever the order in which rows came, equal meshes are equal bytes."""

from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from libs.model.extensions import Phase
from libs.model.ids import service_key
from libs.model.security import MtlsMode
from libs.model.service import Protocol, Resolution
from libs.model.traffic import (
    ClientTls,
    ConnectionPool,
    ConsistentHash,
    Destination,
    HttpMatch,
    HttpRoute,
    LoadBalancing,
    OutlierDetection,
    StreamRoute,
    Subset,
    TlsMode,
    TrafficPolicy,
    WeightedDestination,
)
from libs.proxy.scoper import Scoper
from libs.xds import generate
from tests.support.examples import examples
from tests.support.mesh import (
    endpoints,
    extension,
    fqdn,
    host_policy,
    mesh,
    peer_policy,
    port,
    proxy,
    routing,
    service,
    sidecar,
    workload,
)
from tests.support.patches import patch_set

NAMES = ("a", "b", "c")
NAMESPACES = ("shop", "store")
PROTOCOLS = (Protocol.HTTP, Protocol.TCP, Protocol.AUTO, Protocol.GRPC, Protocol.TLS)

names = st.sampled_from(NAMES)
namespaces = st.sampled_from(NAMESPACES)
hosts = st.builds(fqdn, names, namespaces) | st.sampled_from(
    ["*.svc.cluster.local", "x.example.com"]
)
ages = st.integers(0, 2)
ports = st.lists(
    st.builds(port, st.sampled_from([80, 81, 5432]), st.sampled_from(PROTOCOLS)),
    min_size=1,
    max_size=3,
    unique_by=lambda one: one.number,
)
policies = st.builds(
    TrafficPolicy,
    load_balancing=st.none()
    | st.just(LoadBalancing(consistent_hash=ConsistentHash(header="x-user"))),
    connection_pool=st.none() | st.builds(ConnectionPool, max_connections=st.integers(1, 9)),
    outlier_detection=st.none() | st.just(OutlierDetection(consecutive_5xx=3)),
    tls=st.none() | st.builds(ClientTls, mode=st.sampled_from(TlsMode)),
)


@st.composite
def services(draw: st.DrawFn) -> Struct:
    return service(
        draw(names),
        *draw(ports),
        namespace=draw(namespaces),
        created=draw(ages),
        resolution=draw(st.sampled_from([Resolution.ENDPOINTS, Resolution.ORIGINAL])),
        addresses=draw(st.sampled_from([(), ("10.96.0.1",), ("10.96.0.2",)])),
        export_to=draw(st.sampled_from([(), (".",), ("*",), ("shop",)])),
    )


@st.composite
def endpoint_sets(draw: st.DrawFn) -> Struct:
    of = service(draw(names), *draw(ports), namespace=draw(namespaces))
    found = draw(st.lists(st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.9"]), unique=True))
    return endpoints(of, *found, mtls=draw(st.booleans()), labels={"v": draw(names)})


@st.composite
def routings(draw: st.DrawFn) -> Struct:
    shares = tuple(
        WeightedDestination(Destination(draw(hosts), draw(st.sampled_from(["", "v1"]))), weight)
        for weight in draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))
    )
    matches = draw(st.sampled_from([(), (HttpMatch(source_labels={"app": "x"}),)]))
    return routing(
        draw(names),
        *draw(st.lists(hosts, min_size=1, max_size=2, unique=True)),
        namespace=draw(namespaces),
        created=draw(ages),
        export_to=draw(st.sampled_from([(), (".",), ("store",)])),
        http=(HttpRoute(matches=matches, destinations=shares),),
        tcp=draw(st.sampled_from([(), (StreamRoute((), shares),)])),
    )


@st.composite
def host_policies(draw: st.DrawFn) -> Struct:
    return host_policy(
        draw(names),
        draw(hosts),
        namespace=draw(namespaces),
        created=draw(ages),
        policy=draw(st.none() | policies),
        subsets=tuple(Subset(name, {"v": name}) for name in draw(st.sets(names))),
        export_to=draw(st.sampled_from([(), (".",), ("shop", "store")])),
        selector=draw(st.sampled_from([None, {"app": "x"}])),
    )


PATCHES = """
- {applyTo: CLUSTER, match: {cluster: {portNumber: %d}}, patch: {operation: MERGE, value: {connect_timeout: %ds}}}
- {applyTo: CLUSTER, patch: {operation: ADD, value: {name: mine, connect_timeout: %ds}}}
- {applyTo: HTTP_ROUTE, patch: {operation: INSERT_FIRST, value: {name: r, match: {prefix: /}}}}
"""  # noqa: E501 - as people write them
others = st.sampled_from(
    [
        patch_set(PATCHES % (80, 1, 1), "a"),
        patch_set(PATCHES % (81, 2, 2), "b", "istio-system"),
        patch_set(PATCHES % (80, 3, 3), "c", priority=-1),
        extension("a", lua="a"),
        extension("b", "istio-system", lua="b", priority=1, phase=Phase.AUTHN),
        peer_policy("default", mode=MtlsMode.DISABLE),
        peer_policy("ports", selector={"v": "a"}, ports={80: MtlsMode.DISABLE}),
        workload("client", addresses=("10.0.0.9",), labels={"app": "x"}),
        sidecar("wide", "*/*"),
        sidecar("narrow", "./*", "store/a.store.svc.cluster.local", namespace="store"),
        sidecar("mine", "*/a.shop.svc.cluster.local", selector={"app": "x"}, allow_any=False),
        structs.replace(
            service("x", host="x.example.com", resolution=Resolution.DYNAMIC_DNS),
            key=service_key("shop", "x.example.com", "one"),
            registry="External",
        ),
        structs.replace(
            service("x", host="x.example.com", resolution=Resolution.ORIGINAL),
            key=service_key("shop", "x.example.com", "two"),
            registry="External",
        ),
    ]
)
rows = st.lists(services() | endpoint_sets() | routings() | host_policies() | others, max_size=14)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=examples(60))
@given(rows, st.randoms(use_true_random=False))
def test_rows_in_any_order_give_the_same_bytes(found: list[Struct], chance: Random) -> None:
    now = mesh(*found)
    shuffled = [row for table in now.tables.values() for row in table.values()]
    chance.shuffle(shuffled)
    for client in (proxy(labels={"app": "x"}), proxy("p", namespace="store")):
        left = Scoper().scope(now, client)
        right = Scoper().scope(mesh(*shuffled), client)
        assert left.outbound_digest == right.outbound_digest
        for generator in generate.GENERATORS.values():
            one, other = generator(left), generator(right)
            assert one.version == other.version
            assert [r.body for r in one.resources.values()] == [
                r.body for r in other.resources.values()
            ]
