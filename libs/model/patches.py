"""Patches: what is to be changed in what the mesh makes for Envoy, as EnvoyFilters say it.

The names of things, contexts and operations are Istio's. A value is JSON text of Envoy's own
messages, which nobody here reads: `libs.xds` does, and reports what does not fit.
"""

from msgspec import Struct

from libs.model.ids import Ref


class ClusterMatch(Struct, frozen=True, gc=False, omit_defaults=True):
    """Conditions on a cluster; what is empty is not asked."""

    name: str = ""
    service: str = ""
    subset: str = ""
    port: int = 0


class RouteMatch(Struct, frozen=True, gc=False, omit_defaults=True):
    """Conditions on a route configuration, a virtual host in it and a route in that."""

    name: str = ""
    port: int = 0
    port_name: str = ""
    gateway: str = ""  # `<namespace>/<name>`
    host_name: str = ""
    domain: str = ""
    route_name: str = ""
    action: str = ""  # ROUTE, REDIRECT or DIRECT_RESPONSE


class ListenerMatch(Struct, frozen=True, gc=False, omit_defaults=True):
    """Conditions on a listener, a chain in it, and filters in that."""

    name: str = ""
    port: int = 0
    listener_filter: str = ""
    chain: bool = False  # whether anything is asked of the chain
    chain_name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: tuple[str, ...] = ()
    destination_port: int = 0
    transport_socket: str = ""
    filter: str = ""
    sub_filter: str = ""


class Patch(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One patch; `index` is its place in `spec.configPatches`."""

    index: int
    target: str  # Istio's applyTo
    operation: str
    context: str = "ANY"
    value: bytes = b""  # JSON; empty if there is none
    proxy_version: str = ""  # an expression of RE2
    proxy_metadata: dict[str, str] = {}
    filter_class: str = ""
    cluster: ClusterMatch | None = None
    routes: RouteMatch | None = None
    listener: ListenerMatch | None = None


class PatchSet(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """The patches of one EnvoyFilter, for the workloads of `selector` or the `targets`."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    priority: int = 0
    selector: dict[str, str] = {}
    targets: tuple[str, ...] = ()  # gateways, `<kind>/<name>`; with targets there is no selector
    patches: tuple[Patch, ...] = ()
