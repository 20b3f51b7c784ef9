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
    ca_dir: Path
    """Folder of the signing certificate: ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem, or
    tls.crt, tls.key, ca.crt. If it has none of them, a root is generated there. Watched."""
    root_file: Path | None = None
    """Where to write the roots (PEM) for others to trust."""
    token_keys_file: Path
    """Public keys of the token issuer, as JWKS or PEM. Watched."""
    token_issuer: str = "https://kubernetes.default.svc"  # noqa: S105  # an issuer, not a token
    """Issuer that tokens must name."""
    token_audience: str = "istio-ca"  # noqa: S105
    """Audience that tokens must be for."""
    trust_domain: str = "cluster.local"
    """Trust domain of all identities."""
    system_namespace: str = "istio-system"
    """Namespace of the control plane: its seine-* accounts get a DNS name beside their identity."""
    certificate_seconds: Positive = 24 * 3600
    """Life of a certificate whose request asks for nothing."""
    max_certificate_seconds: Positive = 90 * 24 * 3600
    """Requests for more are refused."""
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
