"""The one order of HTTP and network filters, with the reason for each place.

A feature makes its filter; nobody but this table decides where it stands. Filters of equal rank
keep the order in which they were given. A name that is not in the table is a bug.
"""

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from libs.model.extensions import Phase


class _Named(Protocol):
    @property
    def name(self) -> str: ...


F = TypeVar("F", bound=_Named)

HTTP_ORDER = (
    "istio.metadata_exchange",  # first, so that a denied request still knows its peer
    "istio.metadata_exchange.removal",  # nobody further on may take it for the caller's own words
    "istio.ext_authz_rules",  # which requests an authorizer outside is asked about
    "envoy.filters.http.ext_authz",  # may give a request what all that follows judges by
    Phase.AUTHN,  # extensions of users: these may say who calls
    "envoy.filters.http.jwt_authn",  # before authorization, which reads the claims
    Phase.AUTHZ,  # these may decide before the mesh does
    "envoy.filters.http.rbac",  # DENY before ALLOW: the order in which they are given
    Phase.STATS,  # these see only what was let in
    Phase.UNSPECIFIED,  # and so do all others
    "envoy.filters.http.grpc_web",  # turns gRPC-Web into gRPC before anything that reads gRPC
    "istio.grpc_messages",  # responses meet it after the next one, whose numbers it notes
    "envoy.filters.http.grpc_stats",  # sees gRPC only behind the translation
    "istio.alpn",  # after the route is known: the cluster decides the protocol
    "envoy.filters.http.fault",  # a caller that is not allowed must not be able to cause delays
    "envoy.filters.http.cors",  # a fault hits preflights as well
    "envoy.filters.http.dynamic_forward_proxy",  # the route may change the host to be resolved
    "envoy.filters.http.stateful_session",  # picks a host, so right before the router
    "envoy.filters.http.router",  # Envoy wants its terminal filter last
)

NETWORK_ORDER = (
    "istio.metadata_exchange",  # first, as above
    "istio.ext_authz_rules",  # as above
    "envoy.filters.network.ext_authz",
    Phase.AUTHN,  # extensions of users, as above
    Phase.AUTHZ,
    "envoy.filters.network.rbac",  # nothing else reads a byte of a connection that is refused
    Phase.STATS,
    Phase.UNSPECIFIED,
    "envoy.filters.network.mysql_proxy",  # protocol statistics look on before the bytes leave
    "envoy.filters.network.mongo_proxy",
    "envoy.filters.network.sni_dynamic_forward_proxy",  # finds out where the proxy behind it goes
    "envoy.filters.network.sni_cluster",  # rewrites the destination of the proxy behind it
    "envoy.filters.network.redis_proxy",  # terminal
    "envoy.filters.network.tcp_proxy",  # terminal
    "envoy.filters.network.http_connection_manager",  # terminal
)


_HTTP_RANKS = {name: rank for rank, name in enumerate(HTTP_ORDER)}
_NETWORK_RANKS = {name: rank for rank, name in enumerate(NETWORK_ORDER)}


def http(filters: Iterable[F], phased: Iterable[tuple[Phase, F]] = ()) -> list[F]:
    """Return HTTP filters in the order in which requests meet them.

    Filters that come with a phase stand where that does, whatever their names are.
    """
    return _ordered(_HTTP_RANKS, filters, phased)


def network(filters: Iterable[F], phased: Iterable[tuple[Phase, F]] = ()) -> list[F]:
    """Return network filters in the order in which bytes meet them; phases count as above."""
    return _ordered(_NETWORK_RANKS, filters, phased)


def _ordered(
    ranks: Mapping[str, int], filters: Iterable[F], phased: Iterable[tuple[Phase, F]]
) -> list[F]:
    ranked = [(ranks[one.name], one) for one in filters]
    ranked += [(ranks[phase], one) for phase, one in phased]
    return [one for _, one in sorted(ranked, key=lambda pair: pair[0])]
