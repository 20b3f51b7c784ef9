"""Pages of the mesh: what the control plane as a whole knows, in the shapes of Istio's debug pages.

Others look for them as configz, registryz, endpointShardz, mesh, authorizationz and so on. Each is
a function of a mesh, in which no keys are (ADR 11); who may read them is decided in `debug`.
`spec` is what the mesh has made of a resource, not what its author wrote.

A page has at most MAX_ROWS rows; of a larger mesh it is shown by namespace, or not at all.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from libs.api import registry
from libs.model.endpoint import Endpoint, EndpointSet, Health
from libs.model.ids import parse_ref
from libs.model.mesh import Mesh, Table
from libs.model.service import Service
from libs.model.settings import MeshSettings

MAX_ROWS = 50_000

_RESOURCES = (
    Table.ROUTING,
    Table.GATEWAY,
    Table.HOST_POLICY,
    Table.PEER_POLICY,
    Table.ACCESS_POLICY,
    Table.SIDECAR,
    Table.TOKEN_POLICY,
    Table.TELEMETRY,
    Table.PATCHES,
    Table.EXTENSION,
)
_HEALTH = {Health.HEALTHY: 1, Health.UNHEALTHY: 2, Health.DRAINING: 3}

Render = Callable[[Mesh, str], object]
"""Returns what a page shows of a mesh, of one namespace if that is not empty."""


class TooManyRowsError(Exception):
    """The page would be too large."""


def render(page: str, mesh: Mesh, namespace: str) -> bytes:
    """Return a page of PAGES as JSON.

    Raises:
        TooManyRowsError: it would be too large.

    """
    return msgspec.json.encode(PAGES[page](mesh, namespace))


def registryz(mesh: Mesh, namespace: str) -> object:
    """Services."""
    return [_service(one) for one in _rows(mesh.services.values(), namespace)]


def endpoint_shards(mesh: Mesh, namespace: str) -> object:
    """Endpoints by host, namespace and the cluster that they are of."""
    shard = f"Kubernetes/{mesh.settings.cluster_id}"
    found: dict[str, dict[str, Any]] = {}
    total = 0
    for key, one in sorted(mesh.endpoints.items()):
        service = mesh.services.get(key)
        if service is None or (namespace and service.namespace != namespace):
            continue
        total = _counted(total + len(one.endpoints))
        found.setdefault(service.host, {})[service.namespace] = _shards(shard, one)
    return found


def configz(mesh: Mesh, namespace: str) -> object:
    """Resources of the mesh."""
    rows = [row for table in _RESOURCES for row in mesh.rows(table).values()]
    return [_resource(row) for row in _rows(rows, namespace)]


def resourcesz(mesh: Mesh, namespace: str) -> object:
    """Kinds of resources that are read."""
    del mesh, namespace
    read = (one for one in registry.KINDS if one.struct is not None)
    return [{"group": one.group, "version": one.versions[0], "kind": one.name} for one in read]


def authorizationz(mesh: Mesh, namespace: str) -> object:
    """Access policies."""
    policies = _by_namespace(mesh.access_policies.values(), namespace)
    root = mesh.settings.root_namespace
    return {
        "authorization_policies": {"namespace_to_policies": policies, "root_namespace": root},
    }


def telemetryz(mesh: Mesh, namespace: str) -> object:
    """What is said of telemetry."""
    found = _by_namespace(mesh.telemetry.values(), namespace)
    root = mesh.settings.root_namespace
    return {"telemetries": {"namespace_to_telemetries": found, "root_namespace": root}}


def networkz(mesh: Mesh, namespace: str) -> object:
    """Gateways between networks; they are of no namespace."""
    del namespace
    return [
        {
            "Network": gateway.network,
            "Cluster": mesh.settings.cluster_id,
            "Addr": address,
            "Port": gateway.port,
        }
        for row in mesh.networks.values()
        for gateway in row.gateways
        for address in gateway.addresses or (gateway.address,)
    ]


def clusterz(mesh: Mesh, namespace: str) -> object:
    """Clusters whose resources are read: ours alone."""
    del namespace
    return [{"id": mesh.settings.cluster_id, "secretName": "", "syncStatus": "synced"}]


def mesh_config(mesh: Mesh, namespace: str) -> object:
    """Settings of the mesh, in the words of MeshConfig where it has them."""
    del namespace
    settings = mesh.settings
    return {**_in_words_of_mesh_config(settings), "settings": settings}


def pushcontext(mesh: Mesh, namespace: str) -> object:
    """What holds for all: access policies and gateways between networks."""
    return {
        "AuthorizationPolicies": authorizationz(mesh, namespace),
        "NetworkGateways": networkz(mesh, namespace),
        "UnresolvedGateways": [],
    }


PAGES: Mapping[str, Render] = {
    "registryz": registryz,
    "endpointShardz": endpoint_shards,
    "endpointz": endpoint_shards,
    "configz": configz,
    "resourcesz": resourcesz,
    "authorizationz": authorizationz,
    "telemetryz": telemetryz,
    "networkz": networkz,
    "clusterz": clusterz,
    "mesh": mesh_config,
    "pushcontext": pushcontext,
}


def instances(mesh: Mesh, workloads: Mapping[str, str]) -> bytes:
    """Return the page instancesz: by node id, which services the proxy's workload stands for.

    `workloads` are WorkloadKeys by node id.
    """
    wanted = set(workloads.values())
    targets: dict[str, list[dict[str, object]]] = {}
    for key, one in mesh.endpoints.items():
        service = mesh.services.get(key)
        for endpoint in one.endpoints if service else ():
            if service and endpoint.workload in wanted:
                targets.setdefault(endpoint.workload, []).append(_target(service, endpoint))
    return msgspec.json.encode({node: targets.get(it, []) for node, it in workloads.items()})


def _rows(rows: Iterable[Any], namespace: str) -> list[Any]:
    found = [row for row in rows if namespace in {"", row.namespace}]
    _counted(len(found))
    return found


def _counted(rows: int) -> int:
    if rows > MAX_ROWS:
        message = f"more than {MAX_ROWS} rows: ask for one namespace by ?namespace="
        raise TooManyRowsError(message)
    return rows


def _by_namespace(rows: Iterable[Any], namespace: str) -> dict[str, list[object]]:
    found: dict[str, list[object]] = {}
    for row in _rows(rows, namespace):
        named = {"name": row.name, "namespace": row.namespace, "spec": row}
        found.setdefault(row.namespace, []).append(named)
    return found


def _resource(row: Any) -> dict[str, object]:  # noqa: ANN401  # rows of several tables
    name, namespace, named = parse_ref(row.ref)
    kind = registry.BY_NAME.get((registry.GROUPS.get(name, ""), name))
    version = f"{kind.group}/{kind.versions[0]}" if kind else ""
    metadata: dict[str, object] = {"name": named, "namespace": namespace}
    if created := getattr(row, "created", 0):
        metadata["creationTimestamp"] = _time(created)
    return {"kind": name, "apiVersion": version, "metadata": metadata, "spec": row}


def _service(service: Service) -> dict[str, object]:
    return {
        "Attributes": {
            "ServiceRegistry": service.registry,
            "Name": service.name,
            "Namespace": service.namespace,
            "Labels": service.labels,
            "LabelSelectors": service.selector,
            "ExportTo": service.export_to,
        },
        "hostname": service.host,
        "ports": [
            {"name": port.name, "port": port.number, "protocol": port.protocol}
            for port in service.ports
        ],
        "creationTime": _time(service.created),
        "defaultAddress": next(iter(service.addresses), "0.0.0.0"),  # noqa: S104  # as Istio says
        "resolution": service.resolution,
        "MeshExternal": service.external,
    }


def _shards(shard: str, found: EndpointSet) -> dict[str, object]:
    accounts = sorted({one.service_account for one in found.endpoints if one.service_account})
    endpoints = [_endpoint(one) for one in found.endpoints]
    return {"Shards": {shard: endpoints}, "ServiceAccounts": {name: {} for name in accounts}}


def _endpoint(one: Endpoint) -> dict[str, object]:
    place = one.locality
    return {
        "Labels": one.labels,
        "Addresses": [one.address, *one.others],
        "ServicePortName": one.port_name,
        "ServiceAccount": one.service_account,
        "Network": one.network,
        "Locality": {"Label": "/".join(filter(None, (place.region, place.zone, place.subzone)))},
        "EndpointPort": one.port,
        "LbWeight": one.weight,
        "TLSMode": "istio" if one.mtls else "disabled",
        "Namespace": one.namespace,
        "WorkloadName": one.workload_name,
        "HostName": one.hostname,
        "HealthStatus": _HEALTH[one.health],
        "NodeName": one.node,
    }


def _target(service: Service, endpoint: Endpoint) -> dict[str, object]:
    ports = [port for port in service.ports if port.name == endpoint.port_name]
    number = ports[0].number if ports else 0
    return {
        "Service": service.host,
        "Port": {
            "ServicePort": {"name": endpoint.port_name, "port": number},
            "targetPort": endpoint.port,
        },
    }


def _in_words_of_mesh_config(settings: MeshSettings) -> dict[str, object]:
    mode = "ALLOW_ANY" if settings.allow_any_outbound else "REGISTRY_ONLY"
    return {
        "rootNamespace": settings.root_namespace,
        "trustDomain": settings.trust_domain,
        "trustDomainAliases": settings.trust_domain_aliases,
        "outboundTrafficPolicy": {"mode": mode},
        "enableAutoMtls": settings.auto_mtls,
        "connectTimeout": f"{settings.connect_timeout / 1000:g}s",
        "proxyListenPort": settings.outbound_port,
        "proxyInboundListenPort": settings.inbound_port,
        "protocolDetectionTimeout": f"{settings.protocol_detection_timeout / 1000:g}s",
        "enablePrometheusMerge": settings.prometheus_merge,
        "enableTracing": settings.tracing,
        "ingressClass": settings.ingress_class,
        "ingressControllerMode": settings.ingress,
        "defaultServiceExportTo": settings.service_export_to,
        "defaultVirtualServiceExportTo": settings.routing_export_to,
        "defaultDestinationRuleExportTo": settings.host_policy_export_to,
        "meshMTLS": {"minProtocolVersion": settings.mesh_tls_minimum},
        "pathNormalization": {"normalization": settings.path_normalization},
        "extensionProviders": [{"name": one.name} for one in settings.providers],
    }


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
