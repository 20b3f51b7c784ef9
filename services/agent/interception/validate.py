"""Validate: connects through the rules and looks where the connection arrives.

For images whose rules somebody else lays (a CNI plugin): a pod whose traffic passes by the proxy
must not start. The listeners here stand where Envoy will stand later.
"""

import contextlib
import os
import select
import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from services.agent.interception.options import Options

_SO_ORIGINAL_DST = 80
_NOBODY = {4: "192.0.2.1", 6: "2001:db8::1"}  # for documentation: only a redirect can answer
_ANY = {4: "0.0.0.0", 6: "::"}  # noqa: S104  # redirected packets arrive on any address
_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


class ValidationError(Exception):
    """A connection did not go where the rules should send it; the message says which."""


class Probe(NamedTuple):
    """One connection to try: where it is for, who makes it, which listener must get it."""

    name: str
    destination: tuple[str, int]
    as_proxy: bool
    arrives_on: int


def validate(options: Options) -> None:
    """Return when every probe arrived at the right port with its original destination.

    There are probes of each address family that the pod has a route for.

    Raises:
        ValidationError: one did not, or there is no route at all.

    """
    own = {version: address for version in _FAMILIES if (address := _own_address(version))}
    if not own:
        message = "the pod has no route to the outside"
        raise ValidationError(message)
    for version, address in own.items():
        _validate(options, version, address)


def _validate(options: Options, version: int, own: str) -> None:
    outbound, inbound = int(options.outbound_port), int(options.inbound_port)
    port = int(options.probe_port)
    probes = [Probe(f"IPv{version} inbound", (own, port), as_proxy=True, arrives_on=inbound)]
    if not _is_proxy(options) and _is_caught(options, version):
        away = (_NOBODY[version], port)
        probes.append(Probe(f"IPv{version} outbound", away, as_proxy=False, arrives_on=outbound))
    with _listen(version, outbound) as first, _listen(version, inbound) as second:
        for probe in probes:
            listener = second if probe.arrives_on == inbound else first
            _try(probe, listener, options)


def _is_caught(options: Options, version: int) -> bool:
    """Tell whether the flags ask for the outbound probe to be redirected."""
    if options.probe_port in options.outbound_ports_exclude:
        return False
    if _holds(options.outbound_cidrs_exclude, version):
        return False
    ports = options.outbound_ports
    return "*" in ports or options.probe_port in ports or _holds(options.outbound_cidrs, version)


def _holds(cidrs: tuple[str, ...], version: int) -> bool:
    address = ip_address(_NOBODY[version])
    return any(cidr == "*" or address in ip_network(cidr) for cidr in cidrs)


def _try(probe: Probe, listener: socket.socket, options: Options) -> None:
    deadline = time.monotonic() + options.probe_timeout
    child = os.fork()
    if child == 0:
        _dial_and_exit(probe, options)
    try:
        ready, _, _ = select.select([listener], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            message = f"{probe.name}: nothing arrived on port {probe.arrives_on}"
            raise ValidationError(message)
        connection, _ = listener.accept()
        with connection:
            _compare(probe, connection)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)
        os.waitpid(child, 0)


def _compare(probe: Probe, connection: socket.socket) -> None:
    if connection.family == socket.AF_INET:
        raw = connection.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
        port, packed = struct.unpack_from("!2xH4s", raw)
    else:
        raw = connection.getsockopt(socket.IPPROTO_IPV6, _SO_ORIGINAL_DST, 28)
        port, packed = struct.unpack_from("!2xH4x16s", raw)
    original = (socket.inet_ntop(connection.family, packed), port)
    if original != probe.destination:
        message = f"{probe.name}: went to {probe.destination}, arrived as {original}"
        raise ValidationError(message)


def _dial_and_exit(probe: Probe, options: Options) -> None:
    """In a child: connect as the proxy or as somebody else, wait to be killed."""
    try:
        if probe.as_proxy and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(int(options.proxy_gids[0]))
            if options.proxy_uids:
                os.setuid(int(options.proxy_uids[0]))
        # Nothing may be imported from here on: that user may not be able to read this program.
        family = _FAMILIES[6 if ":" in probe.destination[0] else 4]
        with socket.socket(family) as client:
            client.settimeout(options.probe_timeout)
            client.connect(probe.destination)
            time.sleep(options.probe_timeout)
    finally:
        os._exit(0)


@contextlib.contextmanager
def _listen(version: int, port: int) -> Iterator[socket.socket]:
    with socket.socket(_FAMILIES[version]) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if version == 6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((_ANY[version], port))
        listener.listen()
        yield listener


def _is_proxy(options: Options) -> bool:
    return str(os.getuid()) in options.proxy_uids or str(os.getgid()) in options.proxy_gids


def _own_address(version: int) -> str:
    """Return the address that packets to the outside leave from; empty if there is no route."""
    try:
        with socket.socket(_FAMILIES[version], socket.SOCK_DGRAM) as probe:
            probe.connect((_NOBODY[version], 9))
            return str(probe.getsockname()[0])
    except OSError:  # no route, or a kernel without the family
        return ""
