"""Where Envoy fetches its mesh certificate and the roots it trusts: from the agent, over SDS.

The agent serves both names on a socket that the bootstrap cluster `sds-grpc` leads to. The private
key never leaves the workload, so no secret is ever generated here. Credentials, which users name,
come from the control plane; they are only named here as well.
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


def certificate() -> SdsSecretConfig:
    """Return where the workload's own certificate and key come from."""
    return secret(CERTIFICATE)


def roots() -> SdsSecretConfig:
    """Return where the certificates of trusted roots come from."""
    return secret(ROOTS)


def credential(name: str) -> SdsSecretConfig:
    """Return where the certificate and key that a user's configuration names come from."""
    return over_ads(_resource_name(name))


def credential_roots(name: str) -> SdsSecretConfig:
    """Return where the roots that belong to a credential come from."""
    resource = _resource_name(name)
    written = resource.startswith(CONFIG_MAP_SCHEME) or resource.endswith(ROOTS_SUFFIX)
    return over_ads(resource if written else f"{resource}{ROOTS_SUFFIX}")


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
    agent = GrpcService(envoy_grpc=GrpcService.EnvoyGrpc(cluster_name=CLUSTER))
    api = ApiConfigSource(
        api_type=ApiConfigSource.ApiType.GRPC,
        transport_api_version=ApiVersion.V3,
        set_node_on_first_message_only=True,
        grpc_services=[agent],
    )
    source = ConfigSource(
        api_config_source=api, initial_fetch_timeout=Duration(), resource_api_version=ApiVersion.V3
    )
    return SdsSecretConfig(name=name, sds_config=source)
