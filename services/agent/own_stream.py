"""Own stream: what the agent says first on a stream that is not Envoy's."""

from collections.abc import Mapping
from typing import Any

from libs.protos.xds.v1 import relay_pb2


def introduction(
    node: Mapping[str, Any],
    asked: relay_pb2.DeltaRequest,
    versions: Mapping[str, str] | None = None,
) -> bytes:
    """Return the first request of a delta stream: who asks, for what, and what it has already."""
    introduced = relay_pb2.Introduction(initial_resource_versions=versions)
    introduced.node.id = node["id"]
    introduced.node.cluster = node["cluster"]
    introduced.node.metadata.update(node["metadata"])
    return introduced.SerializeToString() + asked.SerializeToString()
