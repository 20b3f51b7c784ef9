"""What a gRPC program gets that serves and speaks xDS itself."""

import pytest
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext
from msgspec import Struct

from libs.model.endpoint import Endpoint, EndpointSet
from libs.model.security import (
    AccessRule,
    Action,
    MtlsMode,
    Operation,
    PeerPolicy,
    Source,
)
from libs.model.service import Protocol, ServicePort
from libs.proxy.node import ProxyType
from libs.proxy.scoper import Scoper
from libs.xds import generate
from libs.xds.types import LISTENER, NamedResource
from tests.support.mesh import access_policy, mesh, peer_policy, proxy, service, workload

PREFIX = "xds.istio.io/grpc/lds/inbound/"
WEB = service(
    "web",
    ServicePort(80, "grpc", Protocol.GRPC, target=7070),
    selector={"app": "web"},
)
MUTUAL = {"app": "web", "security.istio.io/tlsMode": "istio"}


def served(
    *rows: Struct, labels: dict[str, str] = MUTUAL, as_: ProxyType = ProxyType.PROXYLESS
) -> dict[str, NamedResource]:
    pod = workload("web-1", labels=labels, addresses=("10.0.0.7", "fd00::7"))
    asking = proxy("web-1", type=as_, labels=labels, addresses=pod.addresses)
    found = generate.snapshot(Scoper().scope(mesh(WEB, pod, *rows), asking))
    listeners = found.of(LISTENER).resources
    return {name: one for name, one in listeners.items() if name.startswith(PREFIX)}


def listener(*rows: Struct, labels: dict[str, str] = MUTUAL) -> Listener:
    found = served(*rows, labels=labels)
    return Listener.FromString(found[f"{PREFIX}0.0.0.0:7070"].body)


def filters(*rows: Struct) -> list[str]:
    config = listener(*rows).filter_chains[0].filters[0].typed_config
    manager = hcm.HttpConnectionManager.FromString(config.value)
    return [one.name.removeprefix("envoy.filters.http.") for one in manager.http_filters]


def mode(of: MtlsMode) -> PeerPolicy:
    return peer_policy("default", mode=of)


def test_a_port_is_served_at_every_address_under_the_targets_number() -> None:
    hosts = ("0.0.0.0", "[::]", "10.0.0.7", "[fd00::7]")  # noqa: S104 - names
    found = served()
    assert set(found) == {f"{PREFIX}{host}:7070" for host in hosts}
    six = Listener.FromString(found[f"{PREFIX}[fd00::7]:7070"].body).address.socket_address
    assert (six.address, six.port_value) == ("fd00::7", 7070)
    assert WEB.ref in found[f"{PREFIX}[::]:7070"].sources


def test_sidecars_and_pods_that_serve_nothing_have_none() -> None:
    assert not served(as_=ProxyType.SIDECAR)
    assert not served(labels={"app": "other"})


def test_an_endpoint_makes_a_server_as_well() -> None:
    bare = service("bare", ServicePort(90, "grpc", Protocol.GRPC))
    pod = workload("web-1")
    at = Endpoint(address="10.0.0.7", port=9090, port_name="grpc", workload=pod.key)
    assert f"{PREFIX}0.0.0.0:9090" in served(bare, EndpointSet(key=bare.key, endpoints=(at,)))


@pytest.mark.parametrize(
    ("of", "labels", "mutual"),
    [
        (MtlsMode.STRICT, MUTUAL, True),
        (MtlsMode.STRICT, {"app": "web"}, True),
        (MtlsMode.PERMISSIVE, MUTUAL, True),
        (MtlsMode.PERMISSIVE, {"app": "web"}, False),
        (MtlsMode.DISABLE, MUTUAL, False),
    ],
)
def test_a_mode_is_tls_or_it_is_not(of: MtlsMode, labels: dict[str, str], mutual: bool) -> None:
    (chain,) = listener(mode(of), labels=labels).filter_chains
    assert chain.HasField("transport_socket") is mutual
    assert not chain.HasField("filter_chain_match")
    if mutual:
        context = DownstreamTlsContext.FromString(chain.transport_socket.typed_config.value)
        assert context.require_client_certificate.value
        common = context.common_tls_context
        assert common.tls_certificate_provider_instance.instance_name == "default"
        judged = common.combined_validation_context.default_validation_context
        assert judged.ca_certificate_provider_instance.instance_name == "default"
        assert not judged.match_subject_alt_names  # gRPC refuses them at a server


def test_who_is_let_in_is_judged_in_order_and_each_filter_has_a_name() -> None:
    rule = AccessRule(sources=(Source(namespaces=("shop",)),))
    policies = [
        access_policy("a", action=Action.ALLOW, rules=(rule,)),
        access_policy("b", action=Action.DENY, rules=(rule,)),
        access_policy("c", action=Action.CUSTOM, provider="x", rules=(rule,)),
        access_policy("d", action=Action.AUDIT, rules=(rule,)),
        access_policy("e", action=Action.DENY, rules=(rule,), dry_run=True),
    ]
    strict = mode(MtlsMode.STRICT)
    names = ["rbac.trust", "rbac.CUSTOM", "rbac.DENY", "rbac.ALLOW", "router"]
    assert filters(strict, *policies) == names
    assert filters(strict, *policies[3:]) == ["rbac.trust", "router"]
    assert filters(mode(MtlsMode.DISABLE)) == ["router"]


def test_a_denied_list_with_one_that_cannot_be_tested_denies_all() -> None:
    rule = AccessRule(operations=(Operation(paths=("/a", "/b/{*}")),))
    denies = access_policy("p", action=Action.DENY, rules=(rule,))
    body = listener(denies).SerializeToString()
    assert b"uri-template" not in body
    assert b"/a" not in body  # what is left would cover less than was asked for
