"""The one order of HTTP and network filters, with the reason for each place.

A feature makes its filter; nobody but this table decides where it stands. Filters of equal rank
keep the order in which they were given. A name that is not in the table is a bug.
"""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar


class _Named(Protocol):
    @property
    def name(self) -> str: ...


F = TypeVar("F", bound=_Named)

HTTP_ORDER = (
    "istio.metadata_exchange",  # first, so that a denied request still knows its peer
    "envoy.filters.http.jwt_authn",  # before authorization, which reads the claims
    "envoy.filters.http.rbac",  # DENY before ALLOW: the order in which they are given
    "envoy.filters.http.grpc_web",  # turns gRPC-Web into gRPC before anything that reads gRPC
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
    "envoy.filters.network.rbac",  # nothing reads a byte of a connection that is refused
    "envoy.filters.network.mysql_proxy",  # protocol statistics look on before the bytes leave
    "envoy.filters.network.mongo_proxy",
    "envoy.filters.network.sni_dynamic_forward_proxy",  # finds out where the proxy behind it goes
    "envoy.filters.network.sni_cluster",  # rewrites the destination of the proxy behind it
    "envoy.filters.network.redis_proxy",  # terminal
    "envoy.filters.network.tcp_proxy",  # terminal
    "envoy.filters.network.http_connection_manager",  # terminal
)


def _ranked(table: tuple[str, ...]) -> Callable[[_Named], int]:
    ranks = {name: rank for rank, name in enumerate(table)}
    return lambda item: ranks[item.name]


_http_rank = _ranked(HTTP_ORDER)
_network_rank = _ranked(NETWORK_ORDER)


def http(filters: Iterable[F]) -> list[F]:
    """Return HTTP filters in the order in which requests meet them."""
    return sorted(filters, key=_http_rank)


def network(filters: Iterable[F]) -> list[F]:
    """Return network filters in the order in which bytes meet them."""
    return sorted(filters, key=_network_rank)
