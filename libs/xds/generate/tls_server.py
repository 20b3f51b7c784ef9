"""TLS as a server of the mesh: own certificate, and only clients of our trust domains."""

from collections.abc import Sequence

from envoy.config.core.v3.base_pb2 import TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    SubjectAltNameMatcher,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import BoolValue

from libs.model.settings import MeshSettings
from libs.xds.generate import sds, typed
from libs.xds.generate.filters.trust_domains import TrustDomains

NAME = "envoy.transport_sockets.tls"

HTTP_ALPN = ("h2", "http/1.1")
TCP_ALPN = ("istio-peer-exchange", "h2", "http/1.1")
"""What the server agrees on. `istio` is never agreed on: it only tells mesh clients from others."""

_CIPHERS = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
)


_VERSIONS = {
    "TLSV1_2": TlsParameters.TlsProtocol.TLSv1_2,
    "TLSV1_3": TlsParameters.TlsProtocol.TLSv1_3,
}


def mesh_tls(settings: MeshSettings, alpn: Sequence[str]) -> TransportSocket:
    """Return the transport socket that speaks mutual TLS with clients of the mesh."""
    versions = TlsParameters.TlsProtocol
    common = CommonTlsContext(
        alpn_protocols=alpn,
        tls_params=TlsParameters(
            tls_minimum_protocol_version=_VERSIONS[settings.mesh_tls_minimum],
            tls_maximum_protocol_version=versions.TLSv1_3,
            cipher_suites=settings.mesh_tls_ciphers or _CIPHERS,
        ),
        tls_certificate_sds_secret_configs=[sds.certificate()],
        combined_validation_context=CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=_clients(settings),
            validation_context_sds_secret_config=sds.roots(),
        ),
    )
    context = DownstreamTlsContext(
        common_tls_context=common, require_client_certificate=BoolValue(value=True)
    )
    return typed.transport_socket(NAME, context)


def _clients(settings: MeshSettings) -> CertificateValidationContext:
    """Return who may call: a trusted root alone could also sign for another mesh."""
    matchers = [
        SubjectAltNameMatcher(
            san_type=SubjectAltNameMatcher.SanType.URI,
            matcher=StringMatcher(prefix=f"spiffe://{domain}/"),
        )
        for domain in dict.fromkeys((*TrustDomains(settings).names, *settings.other_trust_domains))
    ]
    return CertificateValidationContext(match_typed_subject_alt_names=matchers)
