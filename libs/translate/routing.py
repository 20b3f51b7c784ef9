"""Routing: one row for each VirtualService that has hosts.

Others find a routing by its reference, and through the hosts it is for. Whether its destinations
exist is checked in `references`; which proxies it concerns is decided in `libs.proxy`.
"""

from libs.api import reasons
from libs.api.networking import virtual_service as api
from libs.api.problem import Problem, Severity
from libs.model.mesh import Key, Table
from libs.model.traffic import MESH_GATEWAY, Routing, StreamRoute, WeightedDestination
from libs.translate import delegates, http_routes, matches
from libs.translate.names import Names
from libs.translate.ownership import others
from libs.translate.state import Derived
from libs.translate.view import View


def derive(view: View, resource: api.VirtualService) -> Derived:
    """Return the row of a VirtualService; none for a delegate, which has no hosts."""
    metadata, spec = resource.metadata, resource.spec
    if not spec.hosts:
        return Derived()
    names = Names(metadata.namespace, view.settings)
    hosts = names.hosts(spec.hosts)
    foreign = {host: whose for host in hosts if (whose := others(view, resource, host))}
    row = Routing(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        hosts=hosts,
        gateways=names.gateways(spec.gateways or (MESH_GATEWAY,)),
        export_to=spec.export_to,
        others=tuple(foreign),
        http=tuple(delegates.routes(view, resource, names)),
        tls=tuple(_stream(rule, names) for rule in spec.tls),
        tcp=tuple(_stream(rule, names) for rule in spec.tcp),
    )
    told = foreign if MESH_GATEWAY in row.gateways else {}
    return Derived(
        rows=((Key(Table.ROUTING, resource.ref), row),),
        problems=tuple(_foreign(resource, host, whose) for host, whose in told.items()),
    )


def _foreign(resource: api.VirtualService, host: str, whose: str) -> Problem:
    text = f"{host} is that of {whose}: this holds for namespace {resource.metadata.namespace} only"
    return Problem(resource.ref, "spec.hosts", reasons.FOREIGN_HOST, text, Severity.WARNING)


def _stream(rule: api.TlsRoute | api.TcpRoute, names: Names) -> StreamRoute:
    return StreamRoute(
        matches=tuple(matches.stream(match, names) for match in rule.match),
        destinations=tuple(
            WeightedDestination(http_routes.destination(it.destination, names), it.weight)
            for it in rule.route
        ),
    )
