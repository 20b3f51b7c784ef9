"""Listener filters: what Envoy finds out about a connection before it chooses a filter chain.

Looking at first bytes costs time, and a client of a protocol in which the server speaks first would
wait for ever. So each inspector looks only at the ports whose chains ask for what it finds.
"""

from collections.abc import Iterable, Mapping, Sequence

from envoy.config.listener.v3.listener_components_pb2 import (
    FilterChain,
    ListenerFilter,
    ListenerFilterChainMatchPredicate,
)
from envoy.extensions.filters.listener.http_inspector.v3.http_inspector_pb2 import HttpInspector
from envoy.extensions.filters.listener.original_dst.v3.original_dst_pb2 import OriginalDst
from envoy.extensions.filters.listener.original_src.v3.original_src_pb2 import OriginalSrc
from envoy.extensions.filters.listener.proxy_protocol.v3.proxy_protocol_pb2 import ProxyProtocol
from envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector_pb2 import TlsInspector
from envoy.type.v3.range_pb2 import Int32Range
from google.protobuf.wrappers_pb2 import UInt32Value

from libs.xds.generate import typed
from libs.xds.generate.inbound_matches import PLAIN_HTTP, TLS

_TPROXY_MARK = 1337
_FIRST_READ = 512  # a ClientHello mostly fits; the default would be 64 KiB for each connection


def original_destination() -> ListenerFilter:
    """Restore the address that the client dialled, which interception replaced."""
    return typed.listener_filter("envoy.filters.listener.original_dst", OriginalDst())


def original_source() -> ListenerFilter:
    """Keep the client's address towards the application (TPROXY)."""
    config = OriginalSrc(mark=_TPROXY_MARK)
    return typed.listener_filter("envoy.filters.listener.original_src", config)


def inspectors(chains: Iterable[FilterChain]) -> list[ListenerFilter]:
    """Return the inspectors that the matches of `chains` ask for, each only where it is needed."""
    needs_tls: dict[int, bool] = {}
    needs_http: dict[int, bool] = {}
    for chain in chains:
        match = chain.filter_chain_match
        port = match.destination_port.value
        tls = match.transport_protocol == TLS
        http = any(name in PLAIN_HTTP for name in match.application_protocols)
        needs_tls[port] = needs_tls.get(port, False) or tls
        needs_http[port] = needs_http.get(port, False) or http
    # The HTTP inspector stands second: what is TLS it does not look at.
    found: list[ListenerFilter] = []
    if any(needs_tls.values()):
        found.append(_limited(tls_inspector(), needs_tls))
    if any(needs_http.values()):
        found.append(_limited(http_inspector(), needs_http))
    return found


def tls_inspector() -> ListenerFilter:
    """Find out whether a connection is TLS, its server name and its ALPN."""
    config = TlsInspector(initial_read_buffer_size=UInt32Value(value=_FIRST_READ))
    return typed.listener_filter("envoy.filters.listener.tls_inspector", config)


def proxy_protocol() -> ListenerFilter:
    """Read who the client is from what the proxy in front says before everything else."""
    return typed.listener_filter("envoy.filters.listener.proxy_protocol", ProxyProtocol())


def http_inspector() -> ListenerFilter:
    """Find out whether a connection in clear text is HTTP, and which."""
    return typed.listener_filter("envoy.filters.listener.http_inspector", HttpInspector())


def _limited(found: ListenerFilter, needed: Mapping[int, bool]) -> ListenerFilter:
    """Return the filter, switched off where it is not needed; port 0 speaks for all others."""
    wanted_elsewhere = needed.get(0, False)
    exceptions = sorted(
        port for port, wanted in needed.items() if port and wanted is not wanted_elsewhere
    )
    if wanted_elsewhere and exceptions:
        found.filter_disabled.CopyFrom(_ports(exceptions))
    elif not wanted_elsewhere and 0 in needed:
        found.filter_disabled.not_match.CopyFrom(_ports(exceptions))
    return found


def _ports(numbers: Sequence[int]) -> ListenerFilterChainMatchPredicate:
    each = [
        ListenerFilterChainMatchPredicate(
            destination_port_range=Int32Range(start=number, end=number + 1)
        )
        for number in numbers
    ]
    if len(each) == 1:
        return each[0]
    rules = ListenerFilterChainMatchPredicate.MatchSet(rules=each)
    return ListenerFilterChainMatchPredicate(or_match=rules)
