"""Routing: one row for each VirtualService that has hosts.

Others find a routing by its reference, and through the hosts it is for. Whether its destinations
exist is checked in `references`; which proxies it concerns is decided in `libs.proxy`.
"""

from libs.api.networking import virtual_service as api
from libs.model.mesh import Key, Table
from libs.model.traffic import MESH_GATEWAY, Routing, StreamRoute, WeightedDestination
from libs.translate import delegates, http_routes, matches
from libs.translate.names import Names
from libs.translate.state import Derived
from libs.translate.view import View


def derive(view: View, resource: api.VirtualService) -> Derived:
    """Return the row of a VirtualService; none for a delegate, which has no hosts."""
    metadata, spec = resource.metadata, resource.spec
    if not spec.hosts:
        return Derived()
    names = Names(metadata.namespace, view.settings)
    row = Routing(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        hosts=names.hosts(spec.hosts),
        gateways=names.gateways(spec.gateways or (MESH_GATEWAY,)),
        export_to=spec.export_to,
        http=tuple(delegates.routes(view, resource, names)),
        tls=tuple(_stream(rule, names) for rule in spec.tls),
        tcp=tuple(_stream(rule, names) for rule in spec.tcp),
    )
    return Derived(rows=((Key(Table.ROUTING, resource.ref), row),))


def _stream(rule: api.TlsRoute | api.TcpRoute, names: Names) -> StreamRoute:
    return StreamRoute(
        matches=tuple(matches.stream(match, names) for match in rule.match),
        destinations=tuple(
            WeightedDestination(http_routes.destination(it.destination, names), it.weight)
            for it in rule.route
        ),
    )
