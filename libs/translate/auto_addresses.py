"""Automatic addresses: one of 240.240.0.0/16 and one of 2001:2::/48 for a host that has none.

A proxy that answers its application's DNS queries gives such an address, so that connections to
hosts of TCP services can be told apart. The address is computed, not handed out: of eight numbers
that follow from namespace, name and host, it is the first that no older entry has. So it is the
same in every process and after every restart, and a new entry never takes an older one's.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

from libs.api.networking.service_entry import Resolution, ServiceEntry
from libs.model.hosts import is_wildcard

ENABLED = "networking.istio.io/enable-autoallocate-ip"

_CHOICES = 8
_LAST = 0xFFFE  # the first and the last number of a block are left alone


class Claim(NamedTuple):
    """A host that wants addresses. Of two the lesser goes first, which is the older."""

    created: int
    namespace: str
    name: str
    host: str

    def choices(self) -> tuple[int, ...]:
        """Return the numbers that may become the host's, the preferred one first."""
        return _choices(f"{self.namespace}/{self.name}/{self.host}")


@lru_cache(maxsize=16384)
def _choices(text: str) -> tuple[int, ...]:
    digest = blake2b(text.encode(), digest_size=2 * _CHOICES).digest()
    pairs = zip(digest[::2], digest[1::2], strict=True)
    return tuple(1 + (high << 8 | low) % _LAST for high, low in pairs)


def claims(entry: ServiceEntry) -> Iterator[Claim]:
    """Yield the hosts of an entry that want addresses."""
    spec, metadata = entry.spec, entry.metadata
    if spec.addresses or spec.resolution is Resolution.NONE:
        return
    if metadata.labels.get(ENABLED, "true") == "false":
        return
    for host in dict.fromkeys(host.lower() for host in spec.hosts):
        if not is_wildcard(host):
            created = metadata.creation_timestamp or 0
            yield Claim(created, metadata.namespace, metadata.name, host)


def addresses(number: int) -> tuple[str, str]:
    """Return the addresses of a number, of both families."""
    return f"240.240.{number >> 8}.{number & 0xFF}", f"2001:2::f0f0:{number:x}"
