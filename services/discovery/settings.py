"""Settings of discovery."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(Struct, frozen=True, kw_only=True):
    """What discovery reads from its environment."""

    listen_address: str = "127.0.0.1"
    """Address of all ports."""
    port: Port = 15018
    """Port of MeshFeed, over mutual TLS."""
    monitoring_port: Port = 15014
    """HTTP port of /metrics, /ready, /version and /debug."""
    config_dir: Path | None = None
    """Folder of manifests, with its subfolders. Watched. Without one, there is an API server."""
    kubeconfig: str = ""
    """Kubeconfig of the API server, if there is no folder; empty: this pod's service account."""
    completion_dir: Path | None = None
    """Folder with what a cluster would add to the manifests: addresses, readiness, injected labels.
    One document a resource, laid over what the manifest says. Watched."""
    ca_address: str = "127.0.0.1:15012"
    """`host:port` of the CA, for this service's own certificate."""
    ca_root_file: Path
    """Whom to trust (PEM)."""
    token_file: Path
    """This service's token for the CA; read again at each use."""
    certificate_dir: Path | None = None
    """Folder that outlives the process, in memory: this service's certificate is kept there, for a
    start while the CA, or the API server that it asks, is away. Not set: nowhere."""
    config_push_address: str = ""
    """`host:port` of config-push for our own services; what it finds out about patches becomes
    problems. Empty: every config-push that the cluster has."""
    redis_url: str = ""
    """Shared cache (`redis://`, `rediss://`, `unix://`) for starts while the API server is away;
    empty: none."""
    cache_key_file: Path | None = None
    """Key that cached values are sealed with; required with a Redis URL."""
    trust_domain: str = ""
    """Trust domain of all identities, unless the mesh's ConfigMap names another for workloads.
    Empty: that of this service's own certificate; for workloads the cluster's domain."""
    cluster_domain: str = ""
    """Domain under which services have their full host names. Empty: what this pod's resolver
    searches; without a cluster cluster.local."""
    resolv_conf: Path = Path("/etc/resolv.conf")
    """File that names the cluster's domain among the domains to search."""
    cluster_id: str = "Kubernetes"
    """Name of the cluster."""
    strict_hosts: bool = False
    """Whether VirtualServices and ServiceEntries for hosts of other namespaces hold for their own
    namespace only. Otherwise, as in Istio, they hold for everybody who sees them."""
    system_namespace: str = "istio-system"
    """Root namespace: its policies hold for the mesh, its ConfigMap `istio` has the settings."""
    ingress_namespace: str = ""
    """Namespace of the pods and the Service that Kubernetes' Ingresses are entered at (Istio:
    K8S_INGRESS_NS); empty: the root namespace."""
    machines_grace_seconds: Annotated[float, Meta(ge=0)] = 10.0
    """How long a machine that nobody has any more keeps its WorkloadEntry."""
    revision: str = "default"
    """Revision of this control plane: if it is not default, the ConfigMap is `istio-<revision>`.
    Objects that are labelled `istio.io/rev` for another one are left alone. Statuses of those
    without the label are the default revision's to write."""
    shared_mesh_config: str = ""
    """ConfigMap of the root namespace that lies beneath that one, for what revisions share."""
    keys_from_loopback: bool = False
    """Whether the keys of issuers (jwksUri) may be fetched from this machine itself."""
    keys_from_private: bool = True
    """Whether the keys of issuers may be fetched from private addresses, as in a cluster."""
    log_level: str = "info"
    """debug, info, warning or error."""
