"""Addresses: who gets which, decided once from what is to be run, so that nothing has to ask.

Namespaces: the control plane, the pods and the services' virtual addresses share one /16.
Loopback: all of 127.0.0.0/8 is this machine, so each workload gets three addresses: where its Envoy
takes traffic in, where its program listens, and where its Envoy takes the program's calls.
"""

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network

from msgspec import Struct

from services.local.manifests import Application
from services.local.mode import Mode

LOCK_PORT = 15999
_LOOPBACKS = [IPv4Network(f"127.{number}.0.0/16") for number in range(66, 96)]
_MAX_PODS = 250


class Place(Struct, frozen=True):
    """The addresses of one workload; with namespaces they are all the pod's."""

    index: int
    pod: IPv4Address
    application: IPv4Address
    outbound: IPv4Address


class Plan(Struct, frozen=True, kw_only=True):
    """All addresses of a run."""

    network: IPv4Network
    host: IPv4Address  # of this machine, on the bridge
    ca: IPv4Address
    discovery: IPv4Address
    config_push: IPv4Address
    redis: IPv4Address
    pods: Mapping[str, Place]  # by <name>.<namespace>
    services: Mapping[str, str]  # virtual addresses by <name>.<namespace>; "None" if headless
    numbers: Mapping[str, int]  # of the services


class AddressError(Exception):
    """There are not enough addresses; the message says of what."""


def plan(
    mode: Mode, network: IPv4Network, application: Application, *, before: Plan | None = None
) -> Plan:
    """Return the addresses for everything in `application`; who had one `before` keeps it.

    Raises:
        AddressError: there are more workloads than addresses for them.

    """
    base = int(network.network_address)
    pods = _numbered(
        (pod.key for pod in application.pods),
        {key: place.index for key, place in before.pods.items()} if before else {},
    )
    services = _numbered(
        (service.key for service in application.services), before.numbers if before else {}
    )
    return Plan(
        network=network,
        host=IPv4Address(base + 254),
        ca=IPv4Address(base + 1),
        discovery=IPv4Address(base + 2),
        config_push=IPv4Address(base + 3),
        redis=IPv4Address(base + 4),
        pods={key: _place(mode, base, index) for key, index in pods.items()},
        services={
            service.key: service.cluster_ip
            or str(IPv4Address(base + (253 << 8) + services[service.key]))
            for service in application.services
        },
        numbers=services,
    )


def _numbered(keys: Iterable[str], known: Mapping[str, int]) -> dict[str, int]:
    """Number `keys` from 1, above all that are known, so that no number ever changes hands."""
    numbers: dict[str, int] = {}
    free = max(known.values(), default=0) + 1
    for key in keys:
        numbers[key] = known.get(key, free)
        free += key not in known
    if free > _MAX_PODS + 1:
        message = f"at most {_MAX_PODS} pods and as many services run on one machine"
        raise AddressError(message)
    return numbers


def _place(mode: Mode, base: int, index: int) -> Place:
    if mode is Mode.NAMESPACES:
        address = IPv4Address(base + (1 << 8) + index)
        return Place(index, address, address, address)
    first = base + (index << 8)
    return Place(index, *(IPv4Address(first + number) for number in (1, 2, 3)))


def claim_loopback() -> tuple[IPv4Network, socket.socket]:
    """Return a network of loopback addresses that no other run uses, and the socket that claims it.

    Raises:
        AddressError: all are in use.

    """
    for network in _LOOPBACKS:
        claim = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            claim.bind((str(network[-2]), LOCK_PORT))
        except OSError:
            claim.close()
            continue
        return network, claim
    message = "every loopback network is in use by another run"
    raise AddressError(message)
