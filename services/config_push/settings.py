"""Settings of config-push."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

Port = Annotated[int, Meta(ge=0, le=65535)]
Positive = Annotated[int, Meta(gt=0)]
Seconds = Annotated[float, Meta(gt=0)]


class Settings(Struct, frozen=True, kw_only=True):
    """What config-push reads from its environment."""

    listen_address: str = "127.0.0.1"
    """Address of all ports."""
    xds_port: Port = 15012
    """ADS over TLS for proxies with a token."""
    mtls_port: Port = 15013
    """ADS for proxies with a mesh certificate; receipts for our own services."""
    monitoring_port: Port = 15014
    """HTTP port of /metrics, /ready and /debug."""
    discovery_address: str
    """`host:port` of discovery's MeshFeed."""
    discovery_server_name: str = ""
    """Name that discovery's certificate carries; empty: seine-discovery.<system namespace>.svc."""
    ca_address: str
    """`host:port` of the CA, for this service's own certificate."""
    ca_server_name: str = ""
    """Name that the CA's certificate carries; empty: seine-ca.<system namespace>.svc."""
    ca_root_file: Path
    """PEM file of the roots that the CA is verified with."""
    token_file: Path
    """File of this service's own token; read again at each use."""
    certificate_dir: Path | None = None
    """Folder that outlives the process, in memory: this service's certificate is kept there, for a
    start while the CA, or the API server that it asks, is away. Not set: nowhere."""
    ca_mtls_address: str = ""
    """`host:port` where the CA takes requests that are passed on; empty: its host, port 15013."""
    kubeconfig: str = ""
    """File that says how to reach the API server; empty: as the pod that this runs in."""
    token_keys_file: Path | None = None
    """Without a cluster: public keys of the issuer of proxies' tokens, as JWKS or PEM; read again
    when it changes. Not set: the API server reviews tokens."""
    token_issuer: str = "https://kubernetes.default.svc"  # noqa: S105  # an issuer, not a token
    """Issuer that tokens must name."""
    token_audience: str = "istio-ca"  # noqa: S105
    """Audience that tokens must be for."""
    trust_domain: str = ""
    """Trust domain of all identities; empty: that of the certificate which the CA gave."""
    system_namespace: str = "istio-system"
    """Namespace of the control plane; its accounts may read all debug pages."""
    receipt_readers: tuple[str, ...] = ("seine-discovery", "seine-console", "seine-ctl")
    """Accounts of the system namespace that may read receipts."""
    redis_url: str = ""
    """Shared cache (`redis://`, `rediss://`, `unix://`); empty: none. Losing it costs only time."""
    cache_key_file: Path | None = None
    """Key that cached values are sealed with; required with a Redis URL."""
    max_streams: Positive = 20_000
    """Proxies beyond this are sent away."""
    max_request_bytes: Positive = 16 * 1024 * 1024
    """Largest request: a proxy that reconnects reports the versions of all it has."""
    first_request_seconds: Seconds = 10.0
    """A stream that stays silent for this long after it was opened is ended."""
    stall_seconds: Seconds = 30.0
    """A proxy that does not read a response for this long loses its stream and reconnects."""
    warming_seconds: Seconds = 5.0
    """Routes wait for clusters to get warm, and clusters to leave for routes, at most this long."""
    max_connection_seconds: Seconds = 1800.0
    """Connections are asked to move after about this time, so that replicas share the load."""
    passing: Positive = 256
    """Requests for certificates that may be on their way to the CA; further ones come later."""
    receipt_history: Positive = 512
    """Changes of which receipts are held."""
    log_level: str = "info"
    """debug, info, warning or error."""

    def __post_init__(self) -> None:
        """Refuse a cache that could not be sealed."""
        if self.redis_url and self.cache_key_file is None:
            message = "SEINE_CACHE_KEY_FILE: required with SEINE_REDIS_URL"
            raise ValueError(message)
