"""Networks as proxies see them: whom a proxy reaches directly, and whom through gateways.

An endpoint in another network than the client's is behind the gateways of its network, which pass
mesh TLS on by its server name: an endpoint without it cannot be reached there. Without a known
gateway, or where nobody said in which network it is, an endpoint is reached directly; a client of
which nobody said it is outside of all networks. So it is with Istio, and so are the weights: all
are scaled so that gateways of one network share alike.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from msgspec import structs

from libs.model.endpoint import Endpoint, Locality
from libs.proxy.crossing import Crossing, Entrance
from libs.proxy.scope import Whereabouts

MAX_WEIGHT = 2**32 - 1
"""Envoy adds weights in 32 bits."""


def views(requested: str) -> tuple[str, ...]:
    """Return the networks that a proxy asks to see, sorted; none if it wants them all."""
    return tuple(sorted({part.strip() for part in requested.split(",")} - {""}))


def reached(  # noqa: PLR0917 - who, from where, by what, and how
    endpoints: Iterable[Endpoint],
    client: Whereabouts,
    ways: Crossing,
    speaks_mesh_tls: Callable[[Endpoint], bool],
) -> tuple[Endpoint, ...]:
    """Return the endpoints as a client reaches them, those of gateways last in their locality."""
    seen = [one for one in endpoints if _is_visible(one, client)]
    if not any(is_far(one, client, ways) for one in seen):
        return tuple(one for one in seen if one.address)
    direct: list[Endpoint] = []
    shares: dict[tuple[Entrance, str, Locality, str], int] = {}
    for one in seen:
        weight = min(one.weight * ways.scale, MAX_WEIGHT)
        if not is_far(one, client, ways):
            if one.address:
                direct.append(structs.replace(one, weight=weight))
        elif speaks_mesh_tls(one):
            entrances = ways.entrances[one.network]
            for entrance in entrances:
                key = (entrance, one.network, one.locality, one.port_name)
                shares[key] = shares.get(key, 0) + weight // len(entrances)
    return (*direct, *_gateways(shares))


def is_far(endpoint: Endpoint, client: Whereabouts, ways: Crossing) -> bool:
    """Tell whether a client reaches an endpoint through gateways of another network."""
    if not endpoint.network or endpoint.network == client.network:
        return False
    return endpoint.network in ways.entrances


def _is_visible(endpoint: Endpoint, client: Whereabouts) -> bool:
    return not client.views or not endpoint.network or endpoint.network in client.views


def _gateways(
    shares: Mapping[tuple[Entrance, str, Locality, str], int],
) -> Iterator[Endpoint]:
    in_order = sorted(shares.items(), key=lambda item: item[0][:2])
    for (entrance, network, locality, port_name), weight in in_order:
        yield Endpoint(
            address=entrance.address,
            port=entrance.port,
            port_name=port_name,
            mtls=True,
            locality=locality,
            network=network,
            weight=min(max(weight, 1), MAX_WEIGHT),
            gateway=True,
        )
