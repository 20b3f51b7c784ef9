"""Proxyless servers: what a gRPC program gets that serves and speaks xDS itself, with no Envoy.

It asks for a listener by the address on which it listens, `xds.istio.io/grpc/lds/inbound/<host>:
<port>`, which is the template in the bootstraps that Istio's agent writes. There is one for each
port that a service exposes, at all addresses and at each of the workload's own.

gRPC cannot look at a connection before it decides: where the mode is PERMISSIVE, it is the label
`security.istio.io/tlsMode: istio` that decides, as it does for clients. It cannot judge clients by
their names in TLS either, so that their trust domain is a matter of RBAC. What it can test of
access policies: `filters.grpc_rules`.
"""

from collections.abc import Iterator

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.config.listener.v3.listener_components_pb2 import FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.config.rbac.v3.rbac_pb2 import RBAC, Policy
from envoy.config.route.v3.route_components_pb2 import (
    NonForwardingAction,
    Route,
    RouteMatch,
    VirtualHost,
)
from envoy.config.route.v3.route_pb2 import RouteConfiguration
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.http.router.v3.router_pb2 import Router
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext
from google.protobuf.wrappers_pb2 import BoolValue

from libs.model.ids import Ref
from libs.model.security import MtlsMode
from libs.proxy.scope import InboundPort, InboundScope
from libs.xds.generate import connection_manager, endpoints, tls_server, typed
from libs.xds.generate.filters import permissions, principals, rbac
from libs.xds.generate.filters.trust_domains import TrustDomains
from libs.xds.generate.proxyless_tls import certificates
from libs.xds.types import LISTENER, NamedResource, resource

PREFIX = "xds.istio.io/grpc/lds/inbound/"
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - names of what a program has opened itself
_TLS_MODE = "security.istio.io/tlsMode"


def generate(scope: InboundScope) -> list[NamedResource]:
    """Return the listeners of `scope`, by port; none for ports that no service exposes."""
    return [made for port in scope.ports if port.service for made in _of_port(scope, port)]


def _of_port(scope: InboundScope, port: InboundPort) -> Iterator[NamedResource]:
    chain = _chain(scope, mutual=_is_mutual(scope, port))
    sources = list(_sources(scope, port))
    for host in dict.fromkeys((*_ANYWHERE, *scope.addresses)):
        shown = f"[{host}]" if ":" in host else host
        name = f"{PREFIX}{shown}:{port.port}"
        listener = Listener(name=name, filter_chains=[chain])
        listener.address.CopyFrom(endpoints.address(host, port.port))
        body = listener.SerializeToString(deterministic=True)
        yield resource(name, LISTENER, body=body, sources=sources)


def _is_mutual(scope: InboundScope, port: InboundPort) -> bool:
    if port.mode is MtlsMode.PERMISSIVE:
        return scope.labels.get(_TLS_MODE) == "istio"
    return port.mode is MtlsMode.STRICT


def _chain(scope: InboundScope, *, mutual: bool) -> FilterChain:
    manager = hcm.HttpConnectionManager(
        route_config=_served(), http_filters=_filters(scope, mutual)
    )
    chain = FilterChain(
        name="inbound-mtls" if mutual else "inbound-plaintext",
        filters=[typed.network_filter(connection_manager.NAME, manager)],
    )
    if mutual:
        chain.transport_socket.CopyFrom(_mutual_tls())
    return chain


def _served() -> RouteConfiguration:
    """Return routes that lead nowhere but into the program."""
    everything = Route(match=RouteMatch(prefix="/"), non_forwarding_action=NonForwardingAction())
    host = VirtualHost(name="inbound", domains=["*"], routes=[everything])
    return RouteConfiguration(name="inbound", virtual_hosts=[host])


def _mutual_tls() -> TransportSocket:
    context = DownstreamTlsContext(
        common_tls_context=certificates(), require_client_certificate=BoolValue(value=True)
    )
    return typed.transport_socket(tls_server.NAME, context)


def _filters(scope: InboundScope, mutual: bool) -> Iterator[hcm.HttpFilter]:
    if mutual:
        yield typed.http_filter(f"{rbac.HTTP_NAME}.trust", _trusted(scope))
    for name, judging in rbac.grpc_filters(scope.policies, scope.settings):
        yield typed.http_filter(name, judging)
    yield typed.http_filter("envoy.filters.http.router", Router())


def _trusted(scope: InboundScope) -> http_rbac.RBAC:
    """Let in who proves a trust domain of ours: a trusted root could also sign for another mesh."""
    settings = scope.settings
    domains = dict.fromkeys((*TrustDomains(settings).names, *settings.other_trust_domains))
    policy = Policy(
        permissions=[permissions.anything()],
        principals=[principals.trust_domain(domain) for domain in domains],
    )
    return http_rbac.RBAC(rules=RBAC(action=RBAC.Action.ALLOW, policies={"trust-domains": policy}))


def _sources(scope: InboundScope, port: InboundPort) -> Iterator[Ref]:
    yield scope.settings.ref
    yield from (policy.ref for policy in scope.policies)
    yield from port.mode_refs
    if port.service:
        yield port.service.ref
