"""Which connections a port accepts, and as what: the table of mTLS mode by protocol.

Mesh clients tell by ALPN what they carry; all others are told apart by looking at their first
bytes. Where nothing in the table matches, Envoy closes the connection: that is how STRICT refuses
plaintext.
"""

from typing import NamedTuple

from envoy.config.listener.v3.listener_components_pb2 import FilterChainMatch

from libs.model.security import MtlsMode
from libs.model.service import Protocol

TLS = "tls"
RAW = "raw_buffer"

MESH_HTTP = ("istio-http/1.0", "istio-http/1.1", "istio-h2")
MESH_TCP = ("istio-peer-exchange", "istio")
ALL_MESH = ("istio", "istio-peer-exchange", *MESH_HTTP)
PLAIN_HTTP = ("http/1.1", "h2c")
"""What the HTTP inspector reports."""


class ChainKind(NamedTuple):
    """One kind of connection, and what the chain for it does."""

    transport: str
    alpn: tuple[str, ...] = ()
    http: bool = False  # else its bytes are passed on
    terminates: bool = False  # mesh TLS; else TLS, if any, is passed on as it is

    def match(self, port: int) -> FilterChainMatch:
        """Return the match of this kind at a port, or with 0 at any port that has none itself."""
        found = FilterChainMatch(transport_protocol=self.transport, application_protocols=self.alpn)
        if port:
            found.destination_port.value = port
        return found


_HTTP = {
    MtlsMode.STRICT: (ChainKind(TLS, http=True, terminates=True),),
    MtlsMode.PERMISSIVE: (
        ChainKind(TLS, ALL_MESH, http=True, terminates=True),
        ChainKind(RAW, http=True),
    ),
    MtlsMode.DISABLE: (ChainKind(RAW, http=True),),
}
_TCP = {
    MtlsMode.STRICT: (ChainKind(TLS, terminates=True),),
    MtlsMode.PERMISSIVE: (
        ChainKind(TLS, ALL_MESH, terminates=True),
        ChainKind(TLS),
        ChainKind(RAW),
    ),
    MtlsMode.DISABLE: (ChainKind(RAW),),
}
_AUTO = {
    MtlsMode.STRICT: (
        ChainKind(TLS, MESH_HTTP, http=True, terminates=True),
        ChainKind(TLS, terminates=True),
    ),
    MtlsMode.PERMISSIVE: (
        ChainKind(TLS, MESH_HTTP, http=True, terminates=True),
        ChainKind(RAW, PLAIN_HTTP, http=True),
        ChainKind(TLS, MESH_TCP, terminates=True),
        ChainKind(RAW),
        ChainKind(TLS),
    ),
    MtlsMode.DISABLE: (ChainKind(RAW, PLAIN_HTTP, http=True), ChainKind(RAW)),
}


def behind_tls(protocol: Protocol) -> tuple[ChainKind, ...]:
    """Return what a port accepts whose TLS ends here for whoever calls."""
    if protocol is Protocol.AUTO:
        carried = ("h2", "http/1.1")
        return ChainKind(TLS, carried, http=True, terminates=True), ChainKind(TLS, terminates=True)
    requests = protocol.is_http or protocol is Protocol.HTTPS
    return (ChainKind(TLS, http=requests, terminates=True),)


def kinds(protocol: Protocol, mode: MtlsMode) -> tuple[ChainKind, ...]:
    """Return what a port accepts. `mode` is resolved, so never UNSET."""
    if protocol.is_http:
        return _HTTP[mode]
    if protocol is Protocol.AUTO:
        return _AUTO[mode]
    return _TCP[mode]
