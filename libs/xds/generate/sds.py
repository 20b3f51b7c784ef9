"""Where Envoy fetches its mesh certificate and the roots it trusts: from the agent, over SDS.

The agent serves both names on a socket that the bootstrap cluster `sds-grpc` leads to. The private
key never leaves the workload, so no secret is ever generated here. Credentials, which users name,
come from the control plane, or, where their names begin with `sds://`, from a server beside the
proxy, to which the bootstrap cluster `sds-external` leads; they are only named here as well.
"""

from envoy.config.core.v3.config_source_pb2 import (
    AggregatedConfigSource,
    ApiConfigSource,
    ApiVersion,
    ConfigSource,
)
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from google.protobuf.duration_pb2 import Duration

CERTIFICATE = "default"
ROOTS = "ROOTCA"
CLUSTER = "sds-grpc"
CREDENTIAL_SCHEME = "kubernetes://"
ROOTS_SUFFIX = "-cacert"
CONFIG_MAP_SCHEME = "configmap://"
EXTERNAL_CLUSTER = "sds-external"
EXTERNAL_SCHEME = "sds://"
BUILTIN = "builtin://"
"""Stands for the mesh's own certificate, and with the suffix for its roots."""


def certificate() -> SdsSecretConfig:
    """Return where the workload's own certificate and key come from."""
    return secret(CERTIFICATE)


def roots() -> SdsSecretConfig:
    """Return where the certificates of trusted roots come from."""
    return secret(ROOTS)


def credential(name: str, *, external: bool) -> SdsSecretConfig:
    """Return where the certificate and key that a user's configuration names come from.

    `external`: there is a server beside the proxy. Without one what it would have is a Secret.
    """
    if name == BUILTIN:
        return certificate()
    if name == f"{BUILTIN}{ROOTS_SUFFIX}":
        return roots()
    if name.startswith(EXTERNAL_SCHEME):
        if external:
            return _beside(name)
        name = name.removeprefix(EXTERNAL_SCHEME)
    return over_ads(_resource_name(name))


def credential_roots(name: str, *, external: bool) -> SdsSecretConfig:
    """Return where the roots that belong to a credential come from."""
    written = name.startswith(CONFIG_MAP_SCHEME) or name.endswith(ROOTS_SUFFIX)
    return credential(name if written else f"{name}{ROOTS_SUFFIX}", external=external)


def over_ads(name: str) -> SdsSecretConfig:
    """Return where the secret `name` comes from if the control plane has it."""
    source = ConfigSource(
        ads=AggregatedConfigSource(),
        initial_fetch_timeout=Duration(),
        resource_api_version=ApiVersion.V3,
    )
    return SdsSecretConfig(name=name, sds_config=source)


def _resource_name(name: str) -> str:
    return name if "://" in name else f"{CREDENTIAL_SCHEME}{name}"


def secret(name: str) -> SdsSecretConfig:
    """Return where the secret `name` comes from: the agent also reads files, named by path."""
    source = ConfigSource(
        api_config_source=_served_by(CLUSTER),
        initial_fetch_timeout=Duration(),
        resource_api_version=ApiVersion.V3,
    )
    return SdsSecretConfig(name=name, sds_config=source)


def _beside(name: str) -> SdsSecretConfig:
    # Envoy's own patience: a name that its server does not have must not hold up a port's others.
    source = ConfigSource(
        api_config_source=_served_by(EXTERNAL_CLUSTER), resource_api_version=ApiVersion.V3
    )
    return SdsSecretConfig(name=name, sds_config=source)


def _served_by(cluster: str) -> ApiConfigSource:
    return ApiConfigSource(
        api_type=ApiConfigSource.ApiType.GRPC,
        transport_api_version=ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=cluster))],
    )
