"""Rules about protocols of ports, written in any case."""

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report

_HTTP = frozenset({"http", "http2", "grpc", "grpc-web", "http_proxy"})
_TLS = frozenset({"https", "tls"})
_STREAM = frozenset({"tcp", "mongo", "redis", "mysql"})
_KNOWN = _HTTP | _TLS | _STREAM | {"udp"}
_NAMED = "HTTP, HTTP2, GRPC, GRPC-Web, HTTPS, TLS, TCP, Mongo, Redis, MySQL"


def is_http(protocol: str) -> bool:
    """Tell whether a proxy reads requests on such a port."""
    return protocol.lower() in _HTTP


def is_tls(protocol: str) -> bool:
    """Tell whether connections to such a port begin with TLS."""
    return protocol.lower() in _TLS


def is_stream(protocol: str) -> bool:
    """Tell whether a proxy passes such connections on as bytes, TLS included."""
    return protocol.lower() in _STREAM | _TLS


def is_protocol(protocol: str) -> bool:
    """Tell whether there is such a protocol."""
    return protocol.lower() in _KNOWN


def check_protocol(protocol: str, path: Path, report: Report, *, required: bool = False) -> None:
    """Report a protocol that there is none; an empty one means that the proxy finds out."""
    if (protocol or required) and not is_protocol(protocol):
        text = f"{protocol[:100]!r} is not a protocol: one of {_NAMED}"
        report.error(path, reasons.INVALID_PROTOCOL, text)
