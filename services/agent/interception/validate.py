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
from typing import NamedTuple

from services.agent.interception.options import Options

_SO_ORIGINAL_DST = 80
_DOCUMENTATION_ADDRESS = "192.0.2.1"  # TEST-NET-1: nobody is there, so only a redirect can answer


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

    Raises:
        ValidationError: one did not.

    """
    outbound, inbound = int(options.outbound_port), int(options.inbound_port)
    port = int(options.probe_port)
    own = _own_address()
    probes = [Probe("inbound", (own, port), as_proxy=True, arrives_on=inbound)] if own else []
    if not _is_proxy(options):
        away = (_DOCUMENTATION_ADDRESS, port)
        probes.append(Probe("outbound", away, as_proxy=False, arrives_on=outbound))
    with _listen(outbound) as first, _listen(inbound) as second:
        for probe in probes:
            listener = second if probe.arrives_on == inbound else first
            _try(probe, listener, options)


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
    raw = connection.getsockopt(socket.SOL_IP, _SO_ORIGINAL_DST, 16)
    port, packed = struct.unpack_from("!2xH4s", raw)
    original = (socket.inet_ntoa(packed), port)
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
        with socket.socket() as client:
            client.settimeout(options.probe_timeout)
            client.connect(probe.destination)
            time.sleep(options.probe_timeout)
    finally:
        os._exit(0)


@contextlib.contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))  # noqa: S104  # redirected packets arrive on any address
        listener.listen()
        yield listener


def _is_proxy(options: Options) -> bool:
    return str(os.getuid()) in options.proxy_uids or str(os.getgid()) in options.proxy_gids


def _own_address() -> str:
    """Return the address that packets to the outside leave from; empty if there is no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((_DOCUMENTATION_ADDRESS, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
