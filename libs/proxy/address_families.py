"""Address families of endpoints: a client sees those that it can reach.

A pod with addresses in both families is two endpoints of its service; to a client that has both,
it is one, whose other address Envoy tries too.
"""

from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from msgspec import structs

from libs.model.endpoint import Endpoint, EndpointSet
from libs.proxy.node import Families

_UNIX = "unix://"


def reachable(row: EndpointSet, families: Families) -> EndpointSet:
    """Return `row` with those endpoints that have an address; names have none.

    Endpoints of which only the network is known stay: their gateway has the address.
    """
    if families is Families.DUAL:
        return structs.replace(row, endpoints=tuple(_folded(row.endpoints)))
    kept = tuple(endpoint for endpoint in row.endpoints if _is_of(endpoint, families))
    return row if len(kept) == len(row.endpoints) else structs.replace(row, endpoints=kept)


def of_families(addresses: Iterable[str], families: Families) -> list[str]:
    """Return those IP addresses that a client of `families` can reach."""
    return [one for one in addresses if str(ip_address(one).version) in families]


def _version(endpoint: Endpoint) -> int:
    """Return 4 or 6, or 0 for a name."""
    try:
        return ip_address(endpoint.address).version
    except ValueError:
        return 0


def _is_of(endpoint: Endpoint, families: Families) -> bool:
    if not endpoint.address or endpoint.address.startswith(_UNIX):
        return True
    return str(_version(endpoint)) == families


def _folded(endpoints: Iterable[Endpoint]) -> Iterator[Endpoint]:
    """Yield each endpoint once; of a workload's two addresses that of IPv4 is the first."""
    by_place: dict[tuple[str, str, int, str], list[Endpoint]] = {}
    for endpoint in endpoints:
        if not endpoint.address or endpoint.address.startswith(_UNIX) or _version(endpoint):
            alone = "" if endpoint.workload else endpoint.address
            place = (endpoint.port_name, endpoint.workload, endpoint.port, alone)
            by_place.setdefault(place, []).append(endpoint)
    for members in by_place.values():
        four = [one for one in members if _version(one) == 4]
        six = [one for one in members if _version(one) == 6]
        if len(four) == len(six) == 1:
            yield structs.replace(four[0], others=(six[0].address,))
        else:
            yield from members
