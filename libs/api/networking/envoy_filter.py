"""EnvoyFilter: patches of what the mesh makes for Envoy.

None marks the fields for which absence means something else than zero. What a patch holds is
Envoy's business and not declared here.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.resource import IstioResource, Message
from libs.api.scalars import Int32, JsonObject, UInt32
from libs.api.selector import TargetReference, WorkloadLabels


class ApplyTo(StrEnum):
    """What is patched."""

    INVALID = "INVALID"
    LISTENER = "LISTENER"
    FILTER_CHAIN = "FILTER_CHAIN"
    NETWORK_FILTER = "NETWORK_FILTER"
    HTTP_FILTER = "HTTP_FILTER"
    ROUTE_CONFIGURATION = "ROUTE_CONFIGURATION"
    VIRTUAL_HOST = "VIRTUAL_HOST"
    HTTP_ROUTE = "HTTP_ROUTE"
    CLUSTER = "CLUSTER"
    EXTENSION_CONFIG = "EXTENSION_CONFIG"
    BOOTSTRAP = "BOOTSTRAP"
    LISTENER_FILTER = "LISTENER_FILTER"


class PatchContext(StrEnum):
    """Where it is patched."""

    ANY = "ANY"
    SIDECAR_INBOUND = "SIDECAR_INBOUND"
    SIDECAR_OUTBOUND = "SIDECAR_OUTBOUND"
    GATEWAY = "GATEWAY"
    WAYPOINT = "WAYPOINT"


class Operation(StrEnum):
    """What is done with what is found."""

    INVALID = "INVALID"
    MERGE = "MERGE"
    ADD = "ADD"
    REMOVE = "REMOVE"
    INSERT_BEFORE = "INSERT_BEFORE"
    INSERT_AFTER = "INSERT_AFTER"
    INSERT_FIRST = "INSERT_FIRST"
    REPLACE = "REPLACE"
    MERGE_AND_REPLACE_LIST = "MERGE_AND_REPLACE_LIST"


class FilterClass(StrEnum):
    """Among which of the mesh's own filters an added one stands."""

    UNSPECIFIED = "UNSPECIFIED"
    AUTHN = "AUTHN"
    AUTHZ = "AUTHZ"
    STATS = "STATS"


class RouteAction(StrEnum):
    """What a route that is looked for does."""

    ANY = "ANY"
    ROUTE = "ROUTE"
    REDIRECT = "REDIRECT"
    DIRECT_RESPONSE = "DIRECT_RESPONSE"


class ProxyMatch(Message, frozen=True):
    """Conditions on a proxy; the version is a regular expression."""

    proxy_version: str = ""
    metadata: dict[str, str] = {}


class ClusterMatch(Message, frozen=True):
    """Conditions on a cluster."""

    port_number: UInt32 = 0
    service: str = ""
    subset: str = ""
    name: str = ""


class RouteMatch(Message, frozen=True):
    """Conditions on a route of a virtual host."""

    name: str = ""
    action: RouteAction = RouteAction.ANY


class VirtualHostMatch(Message, frozen=True):
    """Conditions on a virtual host."""

    name: str = ""
    domain_name: str = ""
    route: RouteMatch | None = None


class RouteConfigurationMatch(Message, frozen=True):
    """Conditions on a route configuration."""

    port_number: UInt32 = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None
    name: str = ""


class SubFilterMatch(Message, frozen=True):
    """Conditions on a filter within a filter."""

    name: str = ""


class FilterMatch(Message, frozen=True):
    """Conditions on a filter."""

    name: str = ""
    sub_filter: SubFilterMatch | None = None


class FilterChainMatch(Message, frozen=True):
    """Conditions on a filter chain."""

    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: str = ""
    filter: FilterMatch | None = None
    destination_port: UInt32 = 0
    transport_socket: str = ""


class ListenerMatch(Message, frozen=True):
    """Conditions on a listener."""

    port_number: UInt32 = 0
    port_name: str = ""
    filter_chain: FilterChainMatch | None = None
    listener_filter: str = ""
    name: str = ""


class WaypointRouteMatch(Message, frozen=True):
    """Conditions on a route of a waypoint."""

    name: str = ""


class WaypointMatch(Message, frozen=True):
    """Conditions on what a waypoint has."""

    port_number: UInt32 | None = None
    route: WaypointRouteMatch | None = None
    filter: FilterMatch | None = None


class ObjectMatch(Message, frozen=True):
    """Where a patch applies; at most one of the last four is set."""

    context: PatchContext | None = None
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None
    waypoint: WaypointMatch | None = None


class Patch(Message, frozen=True):
    """What is done."""

    operation: Operation = Operation.INVALID
    value: JsonObject | None = None
    filter_class: FilterClass = FilterClass.UNSPECIFIED


class ConfigPatch(Message, frozen=True):
    """One patch."""

    apply_to: ApplyTo = ApplyTo.INVALID
    match: ObjectMatch | None = None
    patch: Patch | None = None


class EnvoyFilterSpec(Message, frozen=True):
    """Fields of the kind."""

    workload_selector: WorkloadLabels | None = None
    target_refs: Annotated[tuple[TargetReference, ...], Meta(max_length=16)] = ()
    config_patches: tuple[ConfigPatch, ...] = ()
    priority: Int32 = 0


class EnvoyFilter(IstioResource, frozen=True):
    """The kind."""

    spec: EnvoyFilterSpec = EnvoyFilterSpec()
