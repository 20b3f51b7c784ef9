"""Ingress: the ports that a Sidecar lets in, in place of those that services expose.

A port stands for the service that exposes it, if there is one, so that telemetry can name it. Where
it leads is resolved here: to the loopback address, to the workload's own address, to a Unix socket,
or onward to where the client meant to go.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from libs.model.ids import service_key
from libs.model.service import Service, ServicePort
from libs.model.sidecar import IngressListener, Sidecar
from libs.proxy.node import Interception, Proxy

UNIX = "unix://"


class Exposed(NamedTuple):
    """A service's port, and the workload's own port behind it."""

    service: Service
    port: ServicePort
    target: int


def service_of(
    sidecar: Sidecar, listener: IngressListener, served: Iterable[Exposed]
) -> tuple[Service, int]:
    """Return the service that a listener stands for, and the service's own port."""
    number = listener.port.number
    every = list(served)
    behind = [one for one in every if one.target == number]
    named = [one for one in every if one.port.number == number]
    for one in (*behind, *named):
        return one.service, one.port.number
    host = f"{sidecar.name}.{sidecar.namespace}"
    made = Service(
        key=service_key(sidecar.namespace, host),
        ref=sidecar.ref,
        host=host,
        namespace=sidecar.namespace,
        name=host,
    )
    return made, number


def endpoint_of(listener: IngressListener, proxy: Proxy) -> tuple[str, int]:
    """Return where a listener leads: an address and port, or a Unix socket and 0, or nothing."""
    written = listener.default_endpoint
    if not written or written.startswith(UNIX):
        return written, 0
    host, _, port = written.rpartition(":")
    address = ip_address(host.strip("[]"))
    if not address.is_unspecified:
        return str(address), int(port)
    if proxy.interception is Interception.NONE:
        return proxy.application_address, int(port)
    own = (one for one in proxy.addresses if (":" in one) is (address.version == 6))
    return next(own, proxy.addresses[0] if proxy.addresses else "127.0.0.1"), int(port)
