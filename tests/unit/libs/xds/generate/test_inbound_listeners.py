import pytest
from envoy.config.core.v3.base_pb2 import TrafficDirection
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from msgspec import structs

from libs.model.security import AccessRule, Action, MtlsMode
from libs.model.service import Protocol, ServicePort
from libs.model.settings import MeshSettings
from libs.proxy.inbound import inbound_scope
from libs.proxy.node import Interception, Proxy, ProxyType
from libs.proxy.scope import OutboundScope, ProxyScope
from libs.xds.generate import inbound_listeners
from libs.xds.types import NamedResource
from tests.support import listeners as read
from tests.support import mesh as rows

LABELS = {"app": "web"}
POD = rows.workload("web-1", labels=LABELS)
WEB = rows.service(
    "web",
    ServicePort(80, "http", Protocol.HTTP, 8080),
    ServicePort(90, "auto", Protocol.AUTO, 9090),
    ServicePort(70, "tcp", Protocol.TCP, 7070),
    selector=LABELS,
)
PROXY = rows.proxy("web-1")
STRICT = rows.peer_policy("strict", mode=MtlsMode.STRICT)


def generated(*found: object, proxy: Proxy = PROXY) -> list[NamedResource]:
    mesh = rows.mesh(POD, WEB, *found)  # type: ignore[arg-type]
    inbound = inbound_scope(mesh, proxy)
    outbound = OutboundScope(
        type=proxy.type,
        namespace=proxy.namespace,
        dns_domain=proxy.dns_domain,
        settings=mesh.settings,
        interception=proxy.interception,
        services=(),
        routings=(),
    )
    scope = ProxyScope(
        outbound=outbound, inbound=inbound, outbound_digest="", inbound_digest="", endpoints={}
    )
    return inbound_listeners.generate(scope)


def virtual(*found: object) -> Listener:
    [listener] = read.listeners(generated(*found)).values()
    return listener


def chains(listener: Listener, port: int) -> list[FilterChain]:
    return [chain for chain in listener.filter_chains if read.port(chain) == port]


HTTP = "istio-http/1.0,istio-http/1.1,istio-h2"
ALL = f"istio,istio-peer-exchange,{HTTP}"
TABLE = {
    ("http", MtlsMode.STRICT): ["tls -> HTTP(TLS)"],
    ("tcp", MtlsMode.STRICT): ["tls -> TCP(TLS)"],
    ("auto", MtlsMode.STRICT): [f"{HTTP}+tls -> HTTP(TLS)", "tls -> TCP(TLS)"],
    ("http", MtlsMode.PERMISSIVE): [f"{ALL}+tls -> HTTP(TLS)", "raw_buffer -> HTTP"],
    ("tcp", MtlsMode.PERMISSIVE): [
        f"{ALL}+tls -> TCP(TLS)",
        "tls -> TCP",
        "raw_buffer -> TCP",
    ],
    ("auto", MtlsMode.PERMISSIVE): [
        f"{HTTP}+tls -> HTTP(TLS)",
        "http/1.1,h2c+raw_buffer -> HTTP",
        "istio-peer-exchange,istio+tls -> TCP(TLS)",
        "raw_buffer -> TCP",
        "tls -> TCP",
    ],
    ("http", MtlsMode.DISABLE): ["raw_buffer -> HTTP"],
    ("tcp", MtlsMode.DISABLE): ["raw_buffer -> TCP"],
    ("auto", MtlsMode.DISABLE): ["http/1.1,h2c+raw_buffer -> HTTP", "raw_buffer -> TCP"],
}
NUMBERS = {"http": 8080, "auto": 9090, "tcp": 7070}


@pytest.mark.parametrize(("kind", "mode"), TABLE)
def test_the_table_of_modes(kind: str, mode: MtlsMode) -> None:
    listener = virtual(rows.peer_policy("p", mode=mode))
    found = chains(listener, NUMBERS[kind])
    assert [read.described(chain) for chain in found] == TABLE[kind, mode]
    assert {chain.name for chain in found} == {f"0.0.0.0_{NUMBERS[kind]}"}


@pytest.mark.parametrize("mode", [MtlsMode.STRICT, MtlsMode.PERMISSIVE, MtlsMode.DISABLE])
def test_ports_without_a_service_are_like_ports_without_a_name(mode: MtlsMode) -> None:
    found = chains(virtual(rows.peer_policy("p", mode=mode)), 0)
    assert [read.described(chain) for chain in found] == TABLE["auto", mode]
    for chain in found:
        speaks_http = "HTTP" in read.described(chain).partition("->")[2]
        expected = "virtualInbound-catchall-http" if speaks_http else "virtualInbound"
        assert chain.name == expected


def test_ports_that_only_a_policy_names_pass_through_in_their_own_mode() -> None:
    policy = rows.peer_policy(
        "p", mode=MtlsMode.STRICT, selector=LABELS, ports={6000: MtlsMode.DISABLE}
    )
    found = chains(virtual(policy), 6000)
    assert [read.described(chain) for chain in found] == TABLE["auto", MtlsMode.DISABLE]
    assert [chain.name for chain in found] == ["virtualInbound-catchall-http", "virtualInbound"]
    assert read.tcp_proxy(found[1].filters[-1]).cluster == "InboundPassthroughCluster"


def test_the_listeners_own_port_leads_nowhere() -> None:
    [chain] = chains(virtual(), 15006)
    assert chain.name == "virtualInbound-blackhole"
    assert read.tcp_proxy(chain.filters[-1]).cluster == "BlackHoleCluster"


def test_with_interception_there_is_one_listener() -> None:
    listener = virtual()
    assert listener.name == "virtualInbound"
    assert listener.address.socket_address.port_value == 15006
    assert listener.traffic_direction == TrafficDirection.INBOUND
    assert [one.name.rpartition(".")[2] for one in listener.listener_filters] == [
        "original_dst",
        "tls_inspector",
        "http_inspector",
    ]
    assert listener.continue_on_listener_filters_timeout
    assert not listener.HasField("transparent")


def test_tproxy_keeps_the_clients_address() -> None:
    proxy = structs.replace(PROXY, interception=Interception.TPROXY)
    [listener] = read.listeners(generated(proxy=proxy)).values()
    assert listener.transparent.value
    assert "envoy.filters.listener.original_src" in {f.name for f in listener.listener_filters}


def test_without_interception_each_port_is_bound_to_the_workloads_address() -> None:
    policy = rows.peer_policy("p", selector=LABELS, ports={6000: MtlsMode.DISABLE})
    proxy = structs.replace(
        PROXY,
        interception=Interception.NONE,
        addresses=("127.1.2.3", "::7"),
        application_address="127.9.9.9",
    )
    found = read.listeners(generated(policy, proxy=proxy))
    assert sorted(found) == ["127.1.2.3_7070", "127.1.2.3_8080", "127.1.2.3_9090"]
    listener = found["127.1.2.3_9090"]
    where = listener.address.socket_address
    assert (where.address, where.port_value) == ("127.1.2.3", 9090)
    assert listener.additional_addresses[0].address.socket_address.address == "::7"
    described = [read.described(chain) for chain in listener.filter_chains]
    assert described == TABLE["auto", MtlsMode.PERMISSIVE]
    assert "original_dst" not in str(listener.listener_filters)


def test_a_gateway_has_no_inbound_listeners() -> None:
    assert generated(proxy=structs.replace(PROXY, type=ProxyType.ROUTER)) == []


def test_http_chains_route_everything_to_the_workload() -> None:
    chain = chains(virtual(STRICT), 8080)[0]
    manager = read.manager(chain.filters[-1])
    assert manager.stat_prefix == "inbound_0.0.0.0_8080;"
    config = manager.route_config
    assert (config.name, config.virtual_hosts[0].name) == ("inbound|8080||", "inbound|http|80")
    assert list(config.virtual_hosts[0].domains) == ["*"]
    [route] = config.virtual_hosts[0].routes
    assert route.route.cluster == "inbound|8080||"
    assert route.route.HasField("timeout")
    assert route.route.timeout.ToMilliseconds() == 0
    assert route.route.retry_policy.retry_on == "reset-before-request"


def test_streams_of_grpc_are_not_tried_again() -> None:
    grpc = rows.service("g", ServicePort(50, "grpc", Protocol.GRPC), selector=LABELS)
    manager = read.manager(chains(virtual(grpc), 50)[0].filters[-1])
    [route] = manager.route_config.virtual_hosts[0].routes
    assert not route.route.HasField("retry_policy")
    assert manager.HasField("http2_protocol_options")


def test_browsers_grpc_is_translated_behind_the_policies() -> None:
    web = rows.service("g", ServicePort(50, "grpc-web", Protocol.GRPC_WEB), selector=LABELS)
    deny = rows.access_policy("d", action=Action.DENY, rules=(AccessRule(),))
    manager = read.manager(chains(virtual(web, deny), 50)[0].filters[-1])
    assert [one.name.rpartition(".")[2] for one in manager.http_filters] == [
        "metadata_exchange",
        "removal",
        "rbac",
        "grpc_web",
        "grpc_messages",
        "grpc_stats",
        "fault",
        "cors",
        "router",
    ]


def test_the_server_proves_itself_and_asks_for_our_trust_domains() -> None:
    settings = MeshSettings(trust_domain="td", trust_domain_aliases=("old",))
    listener = virtual(STRICT, settings)
    http = read.tls(chains(listener, 8080)[0])
    assert http.require_client_certificate.value
    common = http.common_tls_context
    assert list(common.alpn_protocols) == ["h2", "http/1.1"]
    assert [one.name for one in common.tls_certificate_sds_secret_configs] == ["default"]
    combined = common.combined_validation_context
    assert combined.validation_context_sds_secret_config.name == "ROOTCA"
    names = combined.default_validation_context.match_typed_subject_alt_names
    assert [name.matcher.prefix for name in names] == ["spiffe://td/", "spiffe://old/"]
    assert common.tls_params.tls_minimum_protocol_version == 3  # TLS 1.2
    tcp = read.tls(chains(listener, 7070)[0])
    assert list(tcp.common_tls_context.alpn_protocols) == ["istio-peer-exchange", "h2", "http/1.1"]


def test_access_policies_stand_before_everything_else_in_every_chain() -> None:
    deny = rows.access_policy("d", action=Action.DENY, rules=(AccessRule(),))
    listener = virtual(deny)
    for chain in listener.filter_chains:
        if chain.name == "virtualInbound-blackhole":
            continue
        if chain.filters[-1].name.endswith("tcp_proxy"):
            deciding = [one.name for one in chain.filters if one.name != "istio.metadata_exchange"]
            assert deciding[0] == "envoy.filters.network.rbac"
        else:
            names = [one.name for one in read.manager(chain.filters[-1]).http_filters]
            assert names[:3] == [
                "istio.metadata_exchange",  # decides nothing
                "istio.metadata_exchange.removal",
                "envoy.filters.http.rbac",
            ]


def test_what_the_certificate_says_of_the_caller_is_noted_where_mesh_tls_ends() -> None:
    for chain in virtual().filter_chains:
        noted = chain.filters[0].name == "istio.metadata_exchange"
        assert noted == chain.HasField("transport_socket"), chain.name


def test_the_inspectors_leave_alone_the_ports_that_do_not_need_them() -> None:
    policy = rows.peer_policy(
        "p", mode=MtlsMode.DISABLE, selector=LABELS, ports={9090: MtlsMode.STRICT}
    )
    filters = {one.name.rpartition(".")[2]: one for one in virtual(policy).listener_filters}
    only = filters["tls_inspector"].filter_disabled.not_match.destination_port_range
    assert (only.start, only.end) == (9090, 9091)
    off = filters["http_inspector"].filter_disabled.or_match.rules
    starts = [rule.destination_port_range.start for rule in off]
    assert starts == [7070, 8080, 9090, 15006], "strict mesh HTTP is told by ALPN alone"


def test_sources_name_all_that_had_a_say() -> None:
    settings = MeshSettings(ref="ConfigMap/istio-system/istio")  # type: ignore[arg-type]
    deny = rows.access_policy("d", action=Action.DENY, rules=(AccessRule(),))
    [listener] = generated(STRICT, deny, settings)
    assert listener.sources == (
        "AuthorizationPolicy/shop/d",
        "ConfigMap/istio-system/istio",
        "PeerAuthentication/shop/strict",
        "Service/shop/web",
    )


def test_equal_scopes_give_equal_bytes() -> None:
    assert generated(STRICT) == generated(STRICT)
