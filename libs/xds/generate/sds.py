"""Where Envoy fetches its mesh certificate and the roots it trusts: from the agent, over SDS.

The agent serves both names on a socket that the bootstrap cluster `sds-grpc` leads to. The private
key never leaves the workload, so no secret is ever generated here.
"""

from envoy.config.core.v3.config_source_pb2 import ApiConfigSource, ApiVersion, ConfigSource
from envoy.config.core.v3.grpc_service_pb2 import GrpcService
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import SdsSecretConfig
from google.protobuf.duration_pb2 import Duration

CERTIFICATE = "default"
ROOTS = "ROOTCA"
CLUSTER = "sds-grpc"


def certificate() -> SdsSecretConfig:
    """Return where the workload's own certificate and key come from."""
    return secret(CERTIFICATE)


def roots() -> SdsSecretConfig:
    """Return where the certificates of trusted roots come from."""
    return secret(ROOTS)


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
