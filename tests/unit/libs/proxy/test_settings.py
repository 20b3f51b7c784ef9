import pytest

from libs.model.ids import SpiffeId
from libs.model.mesh import Mesh
from libs.model.proxy_settings import (
    Collector,
    Connections,
    Headers,
    ProxySettings,
    SpanDefaults,
)
from libs.model.traffic import ClientTls, TlsMode
from libs.proxy.errors import NodeError
from libs.proxy.node import parse
from libs.proxy.scoper import Scoper
from libs.proxy.settings import read
from tests.support.mesh import mesh, proxy, service, workload

NODE = "router~10.0.0.1~gw.edge~edge.svc.cluster.local"
WHO = SpiffeId("cluster.local", "edge", "gw")


def test_nothing_said_is_istios_default() -> None:
    assert read({}) == ProxySettings()
    assert read({"concurrency": 2, "drainDuration": "5s"}) == ProxySettings()


def test_each_part_is_read() -> None:
    found = read(
        {
            "gatewayTopology": {
                "numTrustedProxies": 2,
                "forwardClientCertDetails": "FORWARD_ONLY",
                "proxyProtocol": {},
            },
            "connectionSettings": {
                "profile": "EDGE",
                "httpIdleTimeout": "1.5s",
                "httpHeadersWithUnderscoresAction": "HEADERS_WITH_UNDERSCORES_DROP_HEADER",
            },
            "proxyHeaders": {
                "server": {"disabled": True},
                "attemptCount": {"disabled": True},
                "setCurrentClientCertDetails": {"dns": False, "chain": True},
            },
            "tracing": {
                "sampling": 10,
                "enableIstioTags": False,
                "customTags": {"b": {"header": {"name": "x"}}, "a": {"literal": {"value": "y"}}},
            },
        }
    )
    assert found == ProxySettings(
        trusted_proxies=2,
        forward_client_cert="FORWARD_ONLY",
        accept_proxy_protocol=True,
        connections=Connections(edge=True, idle_timeout=1500, underscores="DROP_HEADER"),
        headers=Headers(keep_server=True, attempt_count=False, cert_dns=False, cert_chain=True),
        spans=SpanDefaults(
            sampling=10.0,
            mesh_tags=False,
            tags=(("a", "literal", "y", ""), ("b", "header", "x", "")),
        ),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"gatewayTopology": {"numTrustedProxies": "many"}},
        {"gatewayTopology": {"numTrustedProxies": -1}},
        {"connectionSettings": {"httpIdleTimeout": "soon"}},
        {"proxyHeaders": []},
    ],
)
def test_what_is_no_proxy_config_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(NodeError, match="PROXY_CONFIG"):
        parse(NODE, {"PROXY_CONFIG": wrong}, WHO, Mesh())


def test_a_proxy_goes_by_its_own_settings_and_others_by_the_meshs() -> None:
    topology = {"gatewayTopology": {"numTrustedProxies": 3}}
    own = parse(NODE, {"PROXY_CONFIG": topology}, WHO, Mesh())
    assert own.settings == ProxySettings(trusted_proxies=3)
    assert parse(NODE, {}, WHO, Mesh()).settings is None
    scoper, world = Scoper(), mesh(service("web"), workload("client"))
    plain = scoper.scope(world, proxy())
    special = scoper.scope(world, proxy("other", settings=own.settings))
    assert plain.outbound.settings.proxy.trusted_proxies == 0
    assert special.outbound.settings.proxy.trusted_proxies == 3
    assert special.inbound.settings.proxy.trusted_proxies == 3
    assert plain.outbound_digest != special.outbound_digest


def test_proxies_with_equal_settings_are_one_class() -> None:
    scoper, world = Scoper(), mesh(service("web"))
    wanted = ProxySettings(trusted_proxies=3)
    one, other = (scoper.scope(world, proxy(name, settings=wanted)) for name in ("a", "b"))
    assert one.outbound is other.outbound
    assert one.inbound.settings is other.inbound.settings


@pytest.mark.parametrize(
    ("tracing", "found"),
    [
        ({"zipkin": {"address": "z:9411"}}, Collector(host="z", port=9411)),
        ({"datadog": {"address": "[::1]:8126"}}, Collector(host="::1", port=8126, datadog=True)),
        (
            {"zipkin": {"address": "z:1"}, "tlsSettings": {"mode": "ISTIO_MUTUAL"}},
            Collector(host="z", port=1, tls=ClientTls(mode=TlsMode.ISTIO_MUTUAL)),
        ),
        # Never in plaintext where TLS was asked for.
        ({"zipkin": {"address": "z:1"}, "tlsSettings": {"credentialName": "c"}}, None),
        *(({"zipkin": {"address": wrong}}, None) for wrong in ("", "z", "z:", "z:x", ":1", "z:0")),
    ],
)
def test_where_spans_go(tracing: dict[str, object], found: Collector | None) -> None:
    assert read({"tracing": tracing}).spans.collector == found
