"""Workload files: what a machine outside the cluster is told, as texts.

Pure. Names and contents are those of `istioctl x workload entry configure`, so that Istio's
documents and agents can be followed and used. What proves who the machine is, and by what it
believes the control plane, comes from the cluster and is not made here.
"""

import json
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from libs.api.mesh_config import MeshConfig
from libs.api.networking.workload_group import GroupMetadata, WorkloadGroup
from libs.api.proxy_defaults import ProxyDefaults
from libs.api.written import written
from libs.inject import scene
from libs.model.workload import canonical_service
from libs.translate import proxy_settings
from services.ctl import inject

DEFAULT_ACCOUNT = "default"
SSH_PORT = 22
"""Never taken in by the proxy: a machine should stay within reach whatever goes wrong."""
_CANONICAL = ("service.istio.io/canonical-name", "service.istio.io/canonical-revision")


class Wishes(Struct, frozen=True, kw_only=True):
    """What the command line says of one machine."""

    cluster: scene.Cluster = scene.Cluster()
    autoregister: bool = False
    capture_dns: bool = True
    internal_address: str = ""
    external_address: str = ""


def mesh_yaml(proxy: ProxyDefaults) -> str:
    """Return the text of `mesh.yaml`."""
    return inject.written([{"defaultConfig": written(proxy)}])


def cluster_env(group: WorkloadGroup, proxy: ProxyDefaults, wishes: Wishes) -> str:
    """Return the text of `cluster.env`: variables, one a line, as a shell takes them."""
    ports = sorted(set(group.spec.template.ports.values()))
    excluded = [SSH_PORT, scene.PROMETHEUS_PORT, scene.READY_PORT]
    status = proxy.status_port or scene.STATUS_PORT
    excluded += [status] if status not in excluded else []
    found = {
        **proxy.proxy_metadata,
        "ISTIO_INBOUND_PORTS": ",".join(map(str, ports)) or "*",
        "ISTIO_NAMESPACE": group.metadata.namespace,
        "ISTIO_SERVICE": f"{group.metadata.name}.{group.metadata.namespace}",
        "ISTIO_SERVICE_CIDR": "*",
        "ISTIO_LOCAL_EXCLUDE_PORTS": ",".join(map(str, excluded)),
        "SERVICE_ACCOUNT": account_of(group),
    }
    if wishes.cluster.revision not in {"", "default"}:
        found["CA_ADDR"] = scene.control_plane(wishes.cluster)
    if address := wishes.internal_address or wishes.external_address:
        found["ISTIO_SVC_IP"] = address
    if wishes.external_address:
        found["REWRITE_PROBE_LEGACY_LOCALHOST_DESTINATION"] = "true"
    return "".join(f"{name}={quoted(text)}\n" for name, text in sorted(found.items()))


def hosts(address: str, cluster: scene.Cluster) -> str:
    """Return the lines for `/etc/hosts`; none if it is not known where the control plane is."""
    if not address:
        return ""
    name = scene.control_plane(cluster).rpartition(":")[0]
    return f"{address} {name}\n"


def proxy_of(group: WorkloadGroup, mesh: MeshConfig, wishes: Wishes) -> ProxyDefaults:
    """Return the settings of the machine's proxy: the mesh's, the group's, and who it is.

    Annotations `proxy.istio.io/config` that cannot be read are left out.
    """
    said = group.spec.metadata or GroupMetadata()
    found = proxy_settings.of_mesh(mesh)
    for annotations in (group.metadata.annotations, said.annotations):
        found = proxy_settings.effective(
            replace(group.metadata, labels={}, annotations=annotations),
            mesh=found,
            configs=(),
            root_namespace=mesh.root_namespace or wishes.cluster.system_namespace,
        )
    proxy = found or ProxyDefaults()
    address = proxy.discovery_address or scene.control_plane(wishes.cluster)
    own = _variables(group, proxy, mesh=mesh, wishes=wishes)
    return replace(
        proxy,
        discovery_address=address,
        readiness_probe=group.spec.probe,
        proxy_metadata={**proxy.proxy_metadata, **own},
    )


def account_of(group: WorkloadGroup) -> str:
    """Return the service account of a group's machines."""
    return group.spec.template.service_account or DEFAULT_ACCOUNT


def quoted(text: str) -> str:
    """Return a text as a shell's word, always in quotes."""
    inside = text.replace("'", "'\"'\"'")
    return f"'{inside}'"


def _variables(
    group: WorkloadGroup, proxy: ProxyDefaults, *, mesh: MeshConfig, wishes: Wishes
) -> dict[str, str]:
    template, name = group.spec.template, group.metadata.name
    said = group.spec.metadata or GroupMetadata()
    labels = {**said.labels, **template.labels}
    canonical = canonical_service(labels, name)
    found = {
        "CANONICAL_SERVICE": canonical[0],
        "CANONICAL_REVISION": canonical[1],
        "POD_NAMESPACE": group.metadata.namespace,
        "SERVICE_ACCOUNT": account_of(group),
        "TRUST_DOMAIN": mesh.trust_domain or wishes.cluster.trust_domain,
        "ISTIO_META_CLUSTER_ID": wishes.cluster.cluster_id,
        "ISTIO_META_MESH_ID": proxy.mesh_id,
        "ISTIO_META_NETWORK": template.network,
        "ISTIO_META_WORKLOAD_NAME": name,
        "ISTIO_METAJSON_LABELS": _json({**labels, **dict(zip(_CANONICAL, canonical, strict=True))}),
    }
    if template.ports:
        found["ISTIO_META_POD_PORTS"] = _json(_ports(template.ports))
    if wishes.capture_dns:
        found["ISTIO_META_DNS_CAPTURE"] = "true"
    if wishes.autoregister:
        found["ISTIO_META_AUTO_REGISTER_GROUP"] = name
    return found


def _ports(ports: Mapping[str, int]) -> list[dict[str, Any]]:
    return [{"name": name, "containerPort": port} for name, port in sorted(ports.items())]


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)
