"""Gateways: what proxies at the edge of the mesh listen on, for whom, and with which certificates.

Certificates are named here, never held: a name of a Secret, or a path in the proxy's file system.
"""

from enum import StrEnum

from msgspec import Struct

from libs.model.ids import Ref
from libs.model.service import Protocol

ANY_NAMESPACE = "*"


class ServerTlsMode(StrEnum):
    """Whether TLS ends at the gateway, and who must show a certificate."""

    PASSTHROUGH = "PASSTHROUGH"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"

    @property
    def passes(self) -> bool:
        """The gateway sees no more of a connection than its SNI."""
        return self in {ServerTlsMode.PASSTHROUGH, ServerTlsMode.AUTO_PASSTHROUGH}


class CertificateFiles(Struct, frozen=True, gc=False):
    """Paths of a certificate and its key in the proxy's file system."""

    certificate: str
    private_key: str


class ServerTls(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """TLS as a server at the edge."""

    mode: ServerTlsMode
    credentials: tuple[str, ...] = ()  # names of Secrets in the namespace of the proxy
    ca_credential: str = ""
    files: tuple[CertificateFiles, ...] = ()
    ca_file: str = ""
    crl_file: str = ""
    subject_alt_names: tuple[str, ...] = ()
    certificate_spki: tuple[str, ...] = ()  # base64
    certificate_hashes: tuple[str, ...] = ()  # hexadecimal
    min_version: str = ""  # TLSV1_0 to TLSV1_3; empty: the gateway's default
    max_version: str = ""
    cipher_suites: tuple[str, ...] = ()
    ecdh_curves: tuple[str, ...] = ()
    insecure_skip_verify: bool = False


class ServerHost(Struct, frozen=True, gc=False):
    """A host, or a wildcard, and the namespace whose routings may bind to it (`*`: any)."""

    namespace: str
    name: str


class Server(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One port of a gateway, for some hosts."""

    number: int  # of the port as the gateway's service publishes it
    port_name: str
    protocol: Protocol
    hosts: tuple[ServerHost, ...]
    bind: str = ""  # an address; empty: all
    name: str = ""
    tls: ServerTls | None = None
    https_redirect: bool = False

    @property
    def terminates(self) -> bool:
        """TLS ends here."""
        return self.tls is not None and not self.tls.mode.passes

    @property
    def routes_requests(self) -> bool:
        """The gateway reads requests, so that each can be routed."""
        return self.protocol.is_http or (self.protocol is Protocol.HTTPS and self.terminates)


class Gateway(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """Servers for the proxies of all workloads that carry the labels of `selector`."""

    ref: Ref
    namespace: str
    name: str
    created: int = 0
    selector: dict[str, str] = {}
    servers: tuple[Server, ...] = ()

    @property
    def full_name(self) -> str:
        """The name by which routings bind to it: `<namespace>/<name>`."""
        return f"{self.namespace}/{self.name}"
