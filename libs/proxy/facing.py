"""Facing: which of a service's addresses a client can use.

Those of the client's own families come first, and others are left out if there are any of its own.
A client whose proxy answers DNS queries uses the automatic addresses of services that have none.
"""

from collections.abc import Iterable
from typing import NamedTuple

from msgspec import structs

from libs.model.service import Service
from libs.proxy.node import Families, Proxy


class Facing(NamedTuple):
    """What of a client decides the addresses of services."""

    families: Families
    dns_capture: bool

    def __str__(self) -> str:
        return f"{self.families}{'d' if self.dns_capture else ''}"

    def sees(self, service: Service) -> Service:
        """Return `service` with the addresses that the client uses; itself if those are all."""
        usable = service.addresses
        if not usable and self.dns_capture:
            usable = service.auto_addresses
        addresses = self._own(usable)
        if addresses == service.addresses:
            return service
        return structs.replace(service, addresses=addresses)

    def _own(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        if self.families is Families.DUAL or len(addresses) < 2:
            return addresses
        own = tuple(_of_family(addresses, self.families))
        return own or addresses


def facing(proxy: Proxy) -> Facing:
    """Return how a proxy faces services."""
    return Facing(proxy.families, proxy.dns_capture)


def _of_family(addresses: Iterable[str], family: Families) -> Iterable[str]:
    six = family is Families.IPV6
    return (address for address in addresses if (":" in address) is six)
