"""Reading generated listeners in tests."""

from collections.abc import Iterable

from envoy.config.listener.v3.listener_components_pb2 import Filter, FilterChain
from envoy.config.listener.v3.listener_pb2 import Listener
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.tcp_proxy.v3.tcp_proxy_pb2 import TcpProxy
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import DownstreamTlsContext

from libs.xds.types import NamedResource


def listeners(found: Iterable[NamedResource]) -> dict[str, Listener]:
    """Return listeners by name."""
    return {one.name: Listener.FromString(one.body) for one in found}


def manager(one: Filter) -> hcm.HttpConnectionManager:
    """Return the configuration of an HTTP connection manager."""
    found = hcm.HttpConnectionManager()
    assert one.typed_config.Unpack(found)
    return found


def tcp_proxy(one: Filter) -> TcpProxy:
    """Return the configuration of a TCP proxy."""
    found = TcpProxy()
    assert one.typed_config.Unpack(found)
    return found


def tls(chain: FilterChain) -> DownstreamTlsContext:
    """Return the TLS context of a chain."""
    found = DownstreamTlsContext()
    assert chain.transport_socket.typed_config.Unpack(found)
    return found


def port(chain: FilterChain) -> int:
    """Return the port that a chain is for; 0 for all others."""
    return chain.filter_chain_match.destination_port.value


def described(chain: FilterChain) -> str:
    """Return what a chain matches and does, as the table of modes writes it."""
    match = chain.filter_chain_match
    alpn = ",".join(match.application_protocols)
    speaks = "HTTP" if chain.filters[-1].name.endswith("http_connection_manager") else "TCP"
    ends_tls = "(TLS)" if chain.HasField("transport_socket") else ""
    return f"{alpn}+{match.transport_protocol}".lstrip("+") + f" -> {speaks}{ends_tls}"
