"""The mesh: a frozen snapshot of everything, as tables of Structs by key.

`Mesh.evolve` is the only way to another mesh; it copies only the tables that a change touches,
so tables (and whatever a reader derived from one) can be compared and cached by identity.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, cast

from msgspec import Struct

from libs.model.endpoint import EndpointSet
from libs.model.extensions import Extension
from libs.model.gateway import Gateway
from libs.model.machine import MachineGroup
from libs.model.networks import Networks
from libs.model.patches import PatchSet
from libs.model.security import AccessPolicy, PeerPolicy
from libs.model.service import Service
from libs.model.settings import MeshSettings
from libs.model.sidecar import Sidecar
from libs.model.telemetry import TelemetryPolicy
from libs.model.tokens import TokenPolicy
from libs.model.traffic import HostPolicy, Routing
from libs.model.workload import Namespace, Workload


class Table(StrEnum):
    """The tables of the mesh; the comment names the Struct and its key."""

    SETTINGS = "settings"  # MeshSettings, key ""
    NAMESPACE = "namespace"  # Namespace, by name
    SERVICE = "service"  # Service, by ServiceKey
    ENDPOINTS = "endpoints"  # EndpointSet, by ServiceKey
    WORKLOAD = "workload"  # Workload, by WorkloadKey
    ROUTING = "routing"  # Routing, by Ref
    GATEWAY = "gateway"  # Gateway, by Ref
    HOST_POLICY = "host_policy"  # HostPolicy, by Ref
    PEER_POLICY = "peer_policy"  # PeerPolicy, by Ref
    ACCESS_POLICY = "access_policy"  # AccessPolicy, by Ref
    SIDECAR = "sidecar"  # Sidecar, by Ref
    TOKEN_POLICY = "token_policy"  # noqa: S105 - TokenPolicy, by Ref
    TELEMETRY = "telemetry"  # TelemetryPolicy, by Ref
    PATCHES = "patches"  # PatchSet, by Ref
    EXTENSION = "extension"  # Extension, by Ref
    MACHINE_GROUP = "machine_group"  # MachineGroup, by MachineGroupKey
    NETWORKS = "networks"  # Networks, by Ref


class Key(NamedTuple):
    """One row of one table."""

    table: Table
    key: str


ROW_TYPES: Mapping[Table, type[Struct]] = {
    Table.SETTINGS: MeshSettings,
    Table.NAMESPACE: Namespace,
    Table.SERVICE: Service,
    Table.ENDPOINTS: EndpointSet,
    Table.WORKLOAD: Workload,
    Table.ROUTING: Routing,
    Table.GATEWAY: Gateway,
    Table.HOST_POLICY: HostPolicy,
    Table.PEER_POLICY: PeerPolicy,
    Table.ACCESS_POLICY: AccessPolicy,
    Table.SIDECAR: Sidecar,
    Table.TOKEN_POLICY: TokenPolicy,
    Table.TELEMETRY: TelemetryPolicy,
    Table.PATCHES: PatchSet,
    Table.EXTENSION: Extension,
    Table.MACHINE_GROUP: MachineGroup,
    Table.NETWORKS: Networks,
}

Rows = Mapping[str, Struct]
_NO_ROWS: Rows = {}
_DEFAULT_SETTINGS = MeshSettings()


class Mesh(Struct, frozen=True, gc=True):
    """All that is known and wanted. `version` counts what led to it in this process."""

    version: int = 0
    tables: Mapping[Table, Rows] = {}

    def rows(self, table: Table) -> Rows:
        """Return a table; the same object until one of its rows changes."""
        return self.tables.get(table, _NO_ROWS)

    @property
    def settings(self) -> MeshSettings:
        """The mesh's settings, or Istio's defaults."""
        return cast("MeshSettings", self.rows(Table.SETTINGS).get("", _DEFAULT_SETTINGS))

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        """Namespaces by name."""
        return cast("Mapping[str, Namespace]", self.rows(Table.NAMESPACE))

    @property
    def services(self) -> Mapping[str, Service]:
        """Services by ServiceKey."""
        return cast("Mapping[str, Service]", self.rows(Table.SERVICE))

    @property
    def endpoints(self) -> Mapping[str, EndpointSet]:
        """Endpoint sets by ServiceKey."""
        return cast("Mapping[str, EndpointSet]", self.rows(Table.ENDPOINTS))

    @property
    def workloads(self) -> Mapping[str, Workload]:
        """Workloads by WorkloadKey."""
        return cast("Mapping[str, Workload]", self.rows(Table.WORKLOAD))

    @property
    def routings(self) -> Mapping[str, Routing]:
        """Routings by Ref."""
        return cast("Mapping[str, Routing]", self.rows(Table.ROUTING))

    @property
    def gateways(self) -> Mapping[str, Gateway]:
        """Gateways by Ref."""
        return cast("Mapping[str, Gateway]", self.rows(Table.GATEWAY))

    @property
    def host_policies(self) -> Mapping[str, HostPolicy]:
        """Host policies by Ref."""
        return cast("Mapping[str, HostPolicy]", self.rows(Table.HOST_POLICY))

    @property
    def peer_policies(self) -> Mapping[str, PeerPolicy]:
        """Peer policies by Ref."""
        return cast("Mapping[str, PeerPolicy]", self.rows(Table.PEER_POLICY))

    @property
    def access_policies(self) -> Mapping[str, AccessPolicy]:
        """Access policies by Ref."""
        return cast("Mapping[str, AccessPolicy]", self.rows(Table.ACCESS_POLICY))

    @property
    def sidecars(self) -> Mapping[str, Sidecar]:
        """Sidecars by Ref."""
        return cast("Mapping[str, Sidecar]", self.rows(Table.SIDECAR))

    @property
    def telemetry(self) -> Mapping[str, TelemetryPolicy]:
        """Telemetry policies by Ref."""
        return cast("Mapping[str, TelemetryPolicy]", self.rows(Table.TELEMETRY))

    @property
    def token_policies(self) -> Mapping[str, TokenPolicy]:
        """Token policies by Ref."""
        return cast("Mapping[str, TokenPolicy]", self.rows(Table.TOKEN_POLICY))

    @property
    def patches(self) -> Mapping[str, PatchSet]:
        """Sets of patches by Ref."""
        return cast("Mapping[str, PatchSet]", self.rows(Table.PATCHES))

    @property
    def extensions(self) -> Mapping[str, Extension]:
        """Extensions by Ref."""
        return cast("Mapping[str, Extension]", self.rows(Table.EXTENSION))

    @property
    def machine_groups(self) -> Mapping[str, MachineGroup]:
        """Groups of machines by MachineGroupKey."""
        return cast("Mapping[str, MachineGroup]", self.rows(Table.MACHINE_GROUP))

    @property
    def networks(self) -> Mapping[str, Networks]:
        """What resources say of networks, by Ref."""
        return cast("Mapping[str, Networks]", self.rows(Table.NETWORKS))

    def evolve(self, changes: Iterable[tuple[Key, Struct | None]]) -> "Mesh":
        """Return the mesh after `changes`; None removes a row. Untouched tables stay the same."""
        touched: dict[Table, dict[str, Struct]] = {}
        for (table, key), row in changes:
            rows = touched.get(table)
            if rows is None:
                rows = touched[table] = dict(self.rows(table))
            if row is None:
                rows.pop(key, None)
            else:
                rows[key] = row
        return Mesh(self.version + 1, {**self.tables, **touched})
