"""Routes, patched: a configuration, its virtual hosts, their routes, from the outside in."""

from collections.abc import Iterable, Iterator
from functools import partial

from envoy.config.route.v3.route_components_pb2 import Route, VirtualHost
from envoy.config.route.v3.route_pb2 import RouteConfiguration

from libs.model.patches import RouteMatch
from libs.xds.generate.patches import lists, resources
from libs.xds.generate.patches.ledger import GATEWAY, Entry, Ledger
from libs.xds.types import NamedResource

TARGETS = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
_MERGES = ("MERGE", "MERGE_AND_REPLACE_LIST")
_NOTHING = RouteMatch()


def apply(ledger: Ledger, made: Iterable[NamedResource]) -> list[NamedResource]:
    """Return the route configurations after all patches."""
    if not ledger.any(*TARGETS):
        return list(made)
    context = ledger.direction(inbound=False)

    def change(routes: RouteConfiguration) -> bool:
        patch(ledger, routes, context)
        return True

    return resources.each(ledger, made, RouteConfiguration, change=change)


def patch(ledger: Ledger, routes: RouteConfiguration, context: str) -> None:
    """Apply all patches to one configuration. Nothing removes it or changes its name."""
    _Patcher(ledger, routes, context).patch()


class _Patcher:
    """Patches one configuration."""

    def __init__(self, ledger: Ledger, routes: RouteConfiguration, context: str) -> None:
        self._ledger = ledger
        self._routes = routes
        self._context = context
        self._inside = ledger.any("HTTP_ROUTE")

    def patch(self) -> None:
        """Apply all patches, from the outside in."""
        routes = self._routes
        name = routes.name
        for entry in self._meant("ROUTE_CONFIGURATION", *_MERGES):
            self._ledger.hit(entry)
            entry.lay_over(routes)
        routes.name = name
        hosts = [host for host in routes.virtual_hosts if self._keep_host(host)]
        taken = {host.name for host in hosts}
        for entry in self._meant("VIRTUAL_HOST", *lists.INSERTIONS):
            new = entry.copy(VirtualHost)
            if new is None or new.name in taken:
                entry.fail(f"value.name: {name} has such a virtual host")
                continue
            taken.add(new.name)
            self._ledger.hit(entry)
            hosts.append(new)
        lists.assign(routes.virtual_hosts, hosts)

    def _meant(self, target: str, *operations: str) -> Iterator[Entry]:
        for entry in self._ledger.of(target, self._context, *operations):
            if self._is_meant(entry.patch.routes):
                yield entry

    def _is_meant(self, match: RouteMatch | None) -> bool:
        if match is None:
            return True
        port, port_name, gateway = _parts(self._routes.name)
        wanted = [(match.name, self._routes.name)]
        if self._context == GATEWAY:  # a sidecar's have neither, so they do not choose among them
            wanted += [(match.port_name, port_name), (match.gateway, gateway)]
        if not self._ledger.is_port(match.port, port):
            return False
        return all(not asked or asked == is_ for asked, is_ in wanted)

    def _keep_host(self, host: VirtualHost) -> bool:
        """Patch a virtual host and what is in it; False if it is to go."""
        for entry in self._meant("VIRTUAL_HOST", *_MERGES, "REMOVE"):
            if not _is_host(host, entry.patch.routes):
                continue
            self._ledger.hit(entry)
            if entry.patch.operation == "REMOVE":
                return False
            entry.lay_over(host)
        if self._inside:
            self._patch_routes(host)
        return True

    def _patch_routes(self, host: VirtualHost) -> None:
        found = [route for route in host.routes if self._keep_route(host, route)]
        for entry in self._meant("HTTP_ROUTE", *lists.INSERTIONS):
            match = entry.patch.routes or _NOTHING
            new = entry.copy(Route)
            if new is None or not _is_host(host, match):
                continue
            beside = partial(_is_route, match=match) if match.route_name or match.action else None
            if beside is not None and not any(map(beside, found)):
                continue  # here even the first place is only for hosts that have such a route
            longer = lists.insert(found, entry.patch.operation, new, beside=beside)
            if longer is not None:
                self._ledger.hit(entry)
                found = longer
        lists.assign(host.routes, found)

    def _keep_route(self, host: VirtualHost, route: Route) -> bool:
        for entry in self._meant("HTTP_ROUTE", *_MERGES, "REMOVE"):
            match = entry.patch.routes
            if not _is_host(host, match) or not _is_route(route, match):
                continue
            self._ledger.hit(entry)
            if entry.patch.operation == "REMOVE":
                return False
            entry.lay_over(route)
        return True


def _parts(name: str) -> tuple[int, str, str]:
    """Return port, port name and gateway of a configuration, as far as its name tells."""
    if name.startswith("inbound|"):
        return _number(name.split("|")[1]), "", ""
    scheme, _, rest = name.partition(".")
    if scheme == "http":
        return _number(rest.partition(".")[0]), "", ""
    if scheme == "https":
        port, name_, gateway, namespace, *_ = [*rest.split("."), "", "", "", ""]
        return _number(port), name_, f"{namespace}/{gateway}"
    return _number(name.rpartition(":")[2]), "", ""


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


def _is_host(host: VirtualHost, match: RouteMatch | None) -> bool:
    if match is None:
        return True
    if match.host_name and match.host_name != host.name:
        return False
    return not match.domain or match.domain in host.domains


def _is_route(route: Route, match: RouteMatch | None) -> bool:
    if match is None:
        return True
    if match.route_name and match.route_name != route.name:
        return False
    return not match.action or match.action.lower() == route.WhichOneof("action")
