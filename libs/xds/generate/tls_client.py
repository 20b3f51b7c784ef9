"""TLS as a client: the transport sockets of a cluster.

Whatever the user's policy asks for is done. Where it asks for nothing, mesh TLS is used for those
endpoints that have a sidecar, endpoint by endpoint; which have one is said by the endpoints.
"""

from collections.abc import Iterable

from envoy.config.cluster.v3.cluster_pb2 import Cluster
from envoy.config.core.v3.base_pb2 import DataSource
from envoy.config.core.v3.proxy_protocol_pb2 import ProxyProtocolConfig
from envoy.extensions.transport_sockets.proxy_protocol.v3.upstream_proxy_protocol_pb2 import (
    ProxyProtocolUpstreamTransport,
)
from envoy.extensions.transport_sockets.raw_buffer.v3.raw_buffer_pb2 import RawBuffer
from envoy.extensions.transport_sockets.tls.v3.common_pb2 import (
    CertificateValidationContext,
    TlsParameters,
)
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext, UpstreamTlsContext
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from msgspec import Struct

from libs.model.traffic import ClientTls, TlsMode
from libs.xds.generate import sds, typed

TLS = "envoy.transport_sockets.tls"
_PROXY_PROTOCOL = "envoy.transport_sockets.upstream_proxy_protocol"
SYSTEM_ROOTS = "system"
CONFIG_MAP_PREFIX = "configmap://"

_MESH_ALPN = ("istio-peer-exchange", "istio")
_MESH_ALPN_H2 = (*_MESH_ALPN, "h2")

RAW_BUFFER = typed.transport_socket("envoy.transport_sockets.raw_buffer", RawBuffer())


class Server(Struct, frozen=True, kw_only=True):
    """What a client knows of the server it is going to call."""

    sni: str  # of mesh TLS
    names: tuple[str, ...]  # that the server may prove
    external: bool  # declared by a ServiceEntry: its names count for plain TLS as well
    http2: bool
    sidecar: bool  # the client is a sidecar
    curves: tuple[str, ...] = ()  # of plain TLS, if the mesh chooses
    ciphers: tuple[str, ...] = ()
    external_secrets: bool = False  # somebody beside the client serves users' certificates
    selected: bool  # the policy chose this client, so it may name a credential
    dynamic: bool = False  # whichever host is asked for: no policy knows its name


def apply(cluster: Cluster, policy: ClientTls | None, server: Server, *, detect: bool) -> None:
    """Set the transport socket of `cluster`, or with `detect` one for each kind of endpoint.

    `detect` counts only where the policy says nothing.
    """
    if policy is None:
        if detect:
            _detect(cluster, server)
        return
    context = _context(policy, server)
    if context is not None:
        cluster.transport_socket.CopyFrom(typed.transport_socket(TLS, context))


def wrap_in_proxy_protocol(cluster: Cluster, version: str) -> None:
    """Send the PROXY protocol's header before everything else."""
    sockets = [match.transport_socket for match in cluster.transport_socket_matches]
    if cluster.HasField("transport_socket"):
        sockets.append(cluster.transport_socket)
    if not sockets:
        cluster.transport_socket.CopyFrom(RAW_BUFFER)
        sockets.append(cluster.transport_socket)
    for socket in sockets:
        wrapped = ProxyProtocolUpstreamTransport(
            config=ProxyProtocolConfig(version=ProxyProtocolConfig.Version.Value(version)),
            transport_socket=socket,
        )
        socket.CopyFrom(typed.transport_socket(_PROXY_PROTOCOL, wrapped))


def takes_part_in_alpn_override(policy: ClientTls | None) -> bool:
    """Tell whether the proxy may say over ALPN which protocol it speaks inside.

    A server outside the mesh would not understand it.
    """
    return policy is None or policy.mode not in {TlsMode.SIMPLE, TlsMode.MUTUAL}


def verifies_by_host(policy: ClientTls | None, server: Server) -> tuple[bool, bool]:
    """Return whether SNI, and whether the name to verify, come from the request's host.

    Who writes an SNI names the server, but not where it may be any: a certificate of anybody that
    a public authority signed would do there.
    """
    if policy is None or policy.mode not in {TlsMode.SIMPLE, TlsMode.MUTUAL}:
        return False, False
    if _withheld(policy, server):
        return False, False
    by_host = not policy.sni
    verified = not (policy.subject_alt_names or policy.insecure_skip_verify)
    return by_host, (by_host or server.dynamic) and verified


def _detect(cluster: Cluster, server: Server) -> None:
    mesh = typed.transport_socket(TLS, _mesh_context(server.sni, server.names, server))
    if cluster.type == Cluster.DiscoveryType.ORIGINAL_DST:
        cluster.transport_socket.CopyFrom(mesh)  # no endpoint could say what it has
        return
    matched = cluster.transport_socket_matches.add(name="tlsMode-istio", transport_socket=mesh)
    matched.match.fields["tlsMode"].string_value = "istio"
    plain = cluster.transport_socket_matches.add(
        name="tlsMode-disabled", transport_socket=RAW_BUFFER
    )
    plain.match.SetInParent()


def _context(policy: ClientTls, server: Server) -> UpstreamTlsContext | None:
    if policy.mode is TlsMode.DISABLE or _withheld(policy, server):
        return None
    if policy.mode is TlsMode.ISTIO_MUTUAL:
        names = policy.subject_alt_names or server.names
        return _mesh_context(policy.sni or server.sni, names, server)
    return _origination(policy, server)


def _withheld(policy: ClientTls, server: Server) -> bool:
    """Tell whether a policy names a credential that this client must not be given."""
    named = policy.credential_name
    secret = bool(named) and not named.startswith(CONFIG_MAP_PREFIX)
    originates = policy.mode in {TlsMode.SIMPLE, TlsMode.MUTUAL}
    return secret and originates and server.sidecar and not server.selected


def _mesh_context(sni: str, names: Iterable[str], server: Server) -> UpstreamTlsContext:
    common = _common()
    common.alpn_protocols.extend(_MESH_ALPN_H2 if server.http2 else _MESH_ALPN)
    common.tls_certificate_sds_secret_configs.append(sds.certificate())
    _validate(common, sds.roots(), names)
    return UpstreamTlsContext(common_tls_context=common, sni=sni)


def _origination(policy: ClientTls, server: Server) -> UpstreamTlsContext:
    common = _common()
    common.tls_params.ecdh_curves.extend(server.curves)
    common.tls_params.cipher_suites.extend(server.ciphers)
    if server.http2:
        common.alpn_protocols.append("h2")
    names = policy.subject_alt_names or (server.names if server.external else ())
    certificate, roots = _secrets(policy, external=server.external_secrets)
    if policy.mode is TlsMode.MUTUAL and (_has_key(policy) or policy.credential_name):
        common.tls_certificate_sds_secret_configs.append(certificate)
    if not policy.insecure_skip_verify:
        _validate(common, roots, names, crl=policy.ca_crl)
    elif not policy.credential_name:
        common.validation_context.SetInParent()
    return UpstreamTlsContext(common_tls_context=common, sni=policy.sni)


def _secrets(policy: ClientTls, *, external: bool) -> tuple[SdsSecretConfig, SdsSecretConfig]:
    """Return where the client's certificate and the roots come from."""
    if policy.credential_name:
        name = policy.credential_name
        return (
            sds.credential(name, external=external),
            sds.credential(f"{name}{sds.ROOTS_SUFFIX}", external=external),
        )
    certificate = f"file-cert:{policy.certificate}~{policy.private_key}"
    return sds.secret(certificate), sds.secret(
        f"file-root:{policy.ca_certificates or SYSTEM_ROOTS}"
    )


def _has_key(policy: ClientTls) -> bool:
    return bool(policy.certificate and policy.private_key)


def _common() -> CommonTlsContext:
    versions = TlsParameters.TlsProtocol
    parameters = TlsParameters(
        tls_minimum_protocol_version=versions.TLSv1_2, tls_maximum_protocol_version=versions.TLSv1_3
    )
    return CommonTlsContext(tls_params=parameters)


def _validate(
    common: CommonTlsContext, roots: SdsSecretConfig, names: Iterable[str], *, crl: str = ""
) -> None:
    allowed = CertificateValidationContext(
        match_subject_alt_names=[StringMatcher(exact=name) for name in names]
    )
    if crl:
        allowed.crl.CopyFrom(DataSource(filename=crl))
    combined = common.combined_validation_context
    combined.default_validation_context.CopyFrom(allowed)
    combined.validation_context_sds_secret_config.CopyFrom(roots)
