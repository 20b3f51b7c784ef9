"""TLS as a server, of gateways and of a sidecar's own listeners.

None marks the fields for which absence means something else than zero.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from libs.api.resource import Message


class ServerTlsMode(StrEnum):
    """Whether TLS ends here, and who must show a certificate."""

    PASSTHROUGH = "PASSTHROUGH"
    SIMPLE = "SIMPLE"
    MUTUAL = "MUTUAL"
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    ISTIO_MUTUAL = "ISTIO_MUTUAL"
    OPTIONAL_MUTUAL = "OPTIONAL_MUTUAL"


class TlsVersion(StrEnum):
    """A version of TLS; TLS_AUTO leaves it to the mesh."""

    TLS_AUTO = "TLS_AUTO"
    TLSV1_0 = "TLSV1_0"
    TLSV1_1 = "TLSV1_1"
    TLSV1_2 = "TLSV1_2"
    TLSV1_3 = "TLSV1_3"


class TlsCertificate(Message, frozen=True):
    """Paths of one certificate in the proxy's file system."""

    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""


class ServerTls(Message, frozen=True):
    """TLS as a server. Certificates are paths in the proxy's file system, or names of Secrets."""

    https_redirect: bool = False
    mode: ServerTlsMode = ServerTlsMode.PASSTHROUGH
    server_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    ca_crl: str = ""
    credential_name: str = ""
    credential_names: Annotated[tuple[str, ...], Meta(min_length=1, max_length=2)] = ()
    ca_cert_credential_name: str = ""
    tls_certificates: Annotated[tuple[TlsCertificate, ...], Meta(min_length=1, max_length=2)] = ()
    subject_alt_names: tuple[str, ...] = ()
    verify_certificate_spki: tuple[str, ...] = ()
    verify_certificate_hash: tuple[str, ...] = ()
    min_protocol_version: TlsVersion = TlsVersion.TLS_AUTO
    max_protocol_version: TlsVersion = TlsVersion.TLS_AUTO
    cipher_suites: tuple[str, ...] = ()
    insecure_skip_verify: bool | None = None
    ecdh_curves: tuple[str, ...] = ()
