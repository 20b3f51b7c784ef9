"""Protocols: what a port of a service speaks, by what its author wrote about it.

Istio's own kinds name it. Of a Kubernetes Service `appProtocol` decides first, then the port's name
up to the first hyphen, then a few well-known numbers of protocols in which the server speaks first,
which no proxy can detect. AUTO is the rest.
"""

from collections.abc import Mapping

from libs.api.kubernetes import ServicePort
from libs.model.service import Protocol

_BY_KUBERNETES: Mapping[str, Protocol] = {
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
_BY_PREFIX: Mapping[str, Protocol] = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "https": Protocol.HTTPS,
    "grpc": Protocol.GRPC,
    "tcp": Protocol.TCP,
    "tls": Protocol.TLS,
    "mongo": Protocol.MONGO,
    "redis": Protocol.REDIS,
    "mysql": Protocol.MYSQL,
}
_SERVER_SPEAKS_FIRST = frozenset({25, 53, 3306, 27017})


_BY_NAME: Mapping[str, Protocol] = {protocol.value.lower(): protocol for protocol in Protocol}


def of_name(written: str) -> Protocol:
    """Return the protocol that a port of Istio's own kinds names; AUTO if it names none."""
    return _BY_NAME.get(written.lower(), Protocol.AUTO)


def of_port(port: ServicePort) -> Protocol:
    """Return the protocol of a TCP port."""
    name = port.app_protocol or port.name
    if port.app_protocol in _BY_KUBERNETES:
        return _BY_KUBERNETES[port.app_protocol]
    if name.lower().startswith("grpc-web"):
        return Protocol.GRPC_WEB
    prefix = name.split("-", 1)[0].lower()
    if prefix in _BY_PREFIX:
        return _BY_PREFIX[prefix]
    return Protocol.TCP if port.port in _SERVER_SPEAKS_FIRST else Protocol.AUTO
