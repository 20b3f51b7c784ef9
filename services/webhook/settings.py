"""Settings of the webhook."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(gt=0)]


class NativeSidecars(StrEnum):
    """Whether a proxy is an init container that stays (Kubernetes' native sidecar)."""

    AUTO = "auto"
    ALWAYS = "true"
    NEVER = "false"


class Settings(Struct, frozen=True, kw_only=True):
    """What the webhook reads from its environment."""

    listen_address: str = "127.0.0.1"
    """Address of all ports."""
    port: Port = 15017
    """HTTPS port that the API server calls: /inject and /validate."""
    monitoring_port: Port = 15014
    """HTTP port of /metrics, /ready and /version."""
    kubeconfig: str = ""
    """Kubeconfig of the API server; empty: the service account of this pod."""
    client_ca_file: Path | None = None
    """PEM roots of the API server's client certificate; if given, nobody else may call."""
    discovery_address: str = ""
    """`host:port` of discovery, which knows what resources make of each other; empty: not asked."""
    ca_address: str
    """`host:port` of the CA, for the certificate of the port."""
    ca_server_name: str = ""
    """Name that the CA's certificate carries; empty: seine-ca.<system namespace>.svc."""
    ca_root_file: Path
    """PEM file of the roots that the CA is verified with."""
    token_file: Path
    """File of this service's own token; read again at each use."""
    certificate_dir: Path | None = None
    """Folder that outlives the process, in memory: this service's certificate is kept there, for a
    start while the CA is away. Not set: nowhere."""
    system_namespace: str = "istio-system"
    """Namespace of the control plane."""
    revision: str = "default"
    """Revision of this control plane: it names the ConfigMaps, and is written to injected pods."""
    shared_mesh_config: str = ""
    """ConfigMap of the system namespace beneath `istio[-<revision>]`, for what revisions share."""
    service: str = "seine-webhook"
    """Service of the system namespace under which API servers call: the certificate has its name,
    and configurations that lead there get its roots."""
    trust_domain: str = ""
    """Trust domain of all identities. Empty: MeshConfig's, else that of this service's own."""
    cluster_domain: str = ""
    """DNS domain of the cluster; empty: what `resolv_conf` says."""
    resolv_conf: Path = Path("/etc/resolv.conf")
    """File that names the cluster's DNS domain among the domains to search."""
    cluster_id: str = "Kubernetes"
    """Name of the cluster within the mesh."""
    proxy_image: str = "seine-agent"
    """Image of the proxy, unless the ConfigMap `istio-sidecar-injector` names another."""
    native_sidecars: NativeSidecars = NativeSidecars.AUTO
    """Native sidecars: true, false, or auto: where the API server is 1.33 or newer."""
    max_connections: Positive = 512
    """Connections beyond this are closed at once; API servers need a few each."""
    log_level: str = "info"
    """debug, info, warning or error."""
