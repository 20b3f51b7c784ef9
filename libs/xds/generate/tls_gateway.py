"""TLS as a server at the edge of the mesh, as a gateway's server asks for it.

Certificates are fetched by name: those that are named by a credential from the control plane, which
gives a proxy only Secrets of its own namespace, or from a server beside the proxy; files, and the
mesh's own, from the agent.
"""

from envoy.config.core.v3.base_pb2 import DataSource, TransportSocket
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import (
    CommonTlsContext,
    DownstreamTlsContext,
)
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.wrappers_pb2 import BoolValue

from libs.model.gateway import Server, ServerTls, ServerTlsMode
from libs.model.settings import MeshSettings
from libs.xds.generate import sds, typed
from libs.xds.generate.tls_server import HTTP_ALPN, NAME, TCP_ALPN

_VERSIONS = {
    "TLSV1_0": TlsParameters.TlsProtocol.TLSv1_0,
    "TLSV1_1": TlsParameters.TlsProtocol.TLSv1_1,
    "TLSV1_2": TlsParameters.TlsProtocol.TLSv1_2,
    "TLSV1_3": TlsParameters.TlsProtocol.TLSv1_3,
}
_REQUIRING = frozenset({ServerTlsMode.MUTUAL, ServerTlsMode.ISTIO_MUTUAL})
_ASKING = _REQUIRING | {ServerTlsMode.OPTIONAL_MUTUAL}


def server_tls(
    server: Server, tls: ServerTls, settings: MeshSettings, *, external: bool = False
) -> TransportSocket:
    """Return the transport socket of a server at which TLS ends; `external` as in `sds`."""
    mesh = tls.mode is ServerTlsMode.ISTIO_MUTUAL
    common = CommonTlsContext(
        alpn_protocols=TCP_ALPN if mesh and not server.routes_requests else HTTP_ALPN,
        tls_params=_parameters(tls, MeshSettings() if mesh else settings),
        tls_certificate_sds_secret_configs=_certificates(tls, external=external),
    )
    if tls.mode in _ASKING:
        combined = common.combined_validation_context
        combined.default_validation_context.CopyFrom(_clients(tls))
        combined.validation_context_sds_secret_config.CopyFrom(_roots(tls, external=external))
    elif tls.subject_alt_names:
        common.validation_context.CopyFrom(_clients(tls))
    context = DownstreamTlsContext(
        common_tls_context=common,
        require_client_certificate=BoolValue(value=tls.mode in _REQUIRING),
    )
    return typed.transport_socket(NAME, context)


def _parameters(tls: ServerTls, defaults: MeshSettings) -> TlsParameters:
    latest = tls.max_version or "TLSV1_3"
    # A server that ends before the mesh's least version means what it says.
    return TlsParameters(
        tls_minimum_protocol_version=_VERSIONS[
            tls.min_version or min(defaults.tls_minimum, latest)
        ],
        tls_maximum_protocol_version=_VERSIONS[latest],
        cipher_suites=tls.cipher_suites or defaults.tls_ciphers,
        ecdh_curves=tls.ecdh_curves or defaults.tls_curves,
    )


def _certificates(tls: ServerTls, *, external: bool) -> list[SdsSecretConfig]:
    if tls.mode is ServerTlsMode.ISTIO_MUTUAL:
        return [sds.certificate()]
    if tls.credentials:
        return [sds.credential(name, external=external) for name in tls.credentials]
    return [sds.secret(f"file-cert:{it.certificate}~{it.private_key}") for it in tls.files]


def _roots(tls: ServerTls, *, external: bool) -> SdsSecretConfig:
    if tls.mode is ServerTlsMode.ISTIO_MUTUAL:
        return sds.roots()
    if tls.ca_credential:
        return sds.credential_roots(tls.ca_credential, external=external)
    if tls.ca_file or not tls.credentials:
        return sds.secret(f"file-root:{tls.ca_file}")
    return sds.credential_roots(tls.credentials[0], external=external)


def _clients(tls: ServerTls) -> CertificateValidationContext:
    found = CertificateValidationContext(
        match_subject_alt_names=[StringMatcher(exact=name) for name in tls.subject_alt_names],
        verify_certificate_spki=tls.certificate_spki,
        verify_certificate_hash=tls.certificate_hashes,
    )
    if tls.insecure_skip_verify:
        untrusted = CertificateValidationContext.TrustChainVerification.ACCEPT_UNTRUSTED
        found.trust_chain_verification = untrusted
    if tls.crl_file:
        found.crl.CopyFrom(DataSource(filename=tls.crl_file))
    return found
