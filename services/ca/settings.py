"""Settings of the CA."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(gt=0)]


class Settings(Struct, frozen=True, kw_only=True):
    """What the CA reads from its environment."""

    listen_address: str = "127.0.0.1"
    """Address of all ports."""
    port: Port = 15012
    """Port for callers with a token."""
    mtls_port: Port = 15013
    """Port for callers that renew with a mesh certificate that is still valid."""
    monitoring_port: Port = 15014
    """HTTP port of /metrics, /ready and /version."""
    kubeconfig: str = ""
    """File that says how to reach the API server; empty: as the pod that this runs in."""
    ca_dir: Path | None = None
    """Without a cluster: folder of the signing certificate, which holds ca-cert.pem, ca-key.pem,
    cert-chain.pem, root-cert.pem, or tls.crt, tls.key, ca.crt. If it has none of them, a root is
    generated there. Watched. Not set: the Secrets of the cluster."""
    root_file: Path | None = None
    """Where to write the roots (PEM) for others to trust."""
    token_keys_file: Path | None = None
    """Without a cluster: public keys of the token issuer, as JWKS or PEM. Watched. Required with
    a folder; in a cluster tokens are reviewed by the API server."""
    token_issuer: str = "https://kubernetes.default.svc"  # noqa: S105  # an issuer, not a token
    """Issuer that tokens must name."""
    token_audience: str = "istio-ca"  # noqa: S105
    """Audience that tokens must be for."""
    trust_domain: str = ""
    """Trust domain of all identities. Empty: what the mesh's ConfigMap says, else the cluster's DNS
    domain; without a cluster cluster.local."""
    revision: str = "default"
    """Revision of this control plane: if it is not default, the ConfigMap is `istio-<revision>`,
    and its services have names with `-<revision>` behind them besides their own."""
    shared_mesh_config: str = ""
    """ConfigMap that is asked for the trust domain if that one does not name it."""
    resolv_conf: Path = Path("/etc/resolv.conf")
    """File that names the cluster's DNS domain among the domains to search."""
    system_namespace: str = "istio-system"
    """Namespace of the control plane: its seine-* accounts get a DNS name beside their identity."""
    certificate_seconds: Positive = 24 * 3600
    """Life of a certificate whose request asks for nothing."""
    max_certificate_seconds: Positive = 90 * 24 * 3600
    """Requests for more are refused."""
    root_seconds: Positive = 10 * 365 * 24 * 3600
    """Life of a root that is made in a cluster. Its successor is prepared in the last half of it,
    at most 30 days before its end, and signs in the last sixth, at most 7 days before."""
    confirm_seconds: Positive = 60
    """In a cluster: a replica that could not read its Secret for this long says "later" instead of
    signing. Each step of a rotation waits twice as long for slow replicas."""
    config_push_service: str = "seine-config-push"
    """Service of the system namespace whose replicas know which roots their proxies trust."""
    config_push_port: Port = 15013
    """Port at which they say it."""
    forwarders: tuple[str, ...] = ("seine-config-push",)
    """Accounts of the system namespace that pass requests of others on: the caller's token, or
    the identity in the certificate that the caller showed there."""
    trusted_node_accounts: tuple[str, ...] = ()
    """Accounts (`<namespace>/<account>`) that may ask for the identities of the pods on their own
    node, such as istio-system/ztunnel."""
    identity_rate: Positive = 100
    """Certificates a second that one identity may get, over time."""
    identity_burst: Positive = 500
    """Certificates that one identity may get at once: the replicas of a large Deployment."""
    peer_rate: Positive = 500
    """Requests a second that one address may send, over time, right or wrong."""
    peer_burst: Positive = 1000
    """Requests that one address may send at once."""
    sign_queue: Positive = 256
    """Requests that may wait for the signing thread; further ones are told to come back."""
    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Refuse half of what a CA without a cluster needs."""
        if (self.ca_dir is None) != (self.token_keys_file is None):
            message = "SEINE_CA_DIR and SEINE_TOKEN_KEYS_FILE: both, or neither in a cluster"
            raise ValueError(message)
