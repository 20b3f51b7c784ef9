"""TLS of gRPC programs that speak xDS themselves: with the certificates of their bootstraps.

gRPC knows certificates by the name of a provider that the program's bootstrap has. Bootstraps that
Istio's agent and ours write call it `default`. Programs built before the providers got their
present fields look for them in the ones of old.
"""

from collections.abc import Iterable

from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import CommonTlsContext
from envoy.type.matcher.v3.string_pb2 import StringMatcher

from libs.xds.generate import sds

PROVIDER = "default"
"""The name of the certificate provider in a bootstrap."""


def certificates(proved: Iterable[str] = ()) -> CommonTlsContext:
    """Return TLS with the provider's certificate and roots; the peer proves a name of `proved`.

    If none is named, any certificate of the mesh will do. gRPC refuses names at a server.
    """
    common = CommonTlsContext()
    judged = common.combined_validation_context
    peer = judged.default_validation_context
    for own in (
        common.tls_certificate_provider_instance,
        common.tls_certificate_certificate_provider_instance,
    ):
        own.instance_name, own.certificate_name = PROVIDER, sds.CERTIFICATE
    for roots in (
        peer.ca_certificate_provider_instance,
        judged.validation_context_certificate_provider_instance,
    ):
        roots.instance_name, roots.certificate_name = PROVIDER, sds.ROOTS
    peer.match_subject_alt_names.extend(StringMatcher(exact=name) for name in proved)
    return common
