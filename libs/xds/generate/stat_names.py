"""Names of clusters in statistics, as the mesh's settings write them with placeholders.

Without such a pattern a cluster's own name is used.
"""

from libs.model.service import Service
from libs.model.settings import MeshSettings
from libs.proxy.scope import InboundPort
from libs.xds import names
from libs.xds.names import ClusterName


def outbound(settings: MeshSettings, service: Service, cluster: ClusterName) -> str:
    """Return the prefix of the statistics of a cluster that a proxy calls."""
    pattern = settings.outbound_stat_name
    if not pattern:
        return names.stat_prefix(str(cluster))
    return _filled(pattern, service, number=cluster.port, subset=cluster.subset, target=0)


def inbound(settings: MeshSettings, service: Service, port: InboundPort) -> str:
    """Return the prefix of the statistics of a workload's own port."""
    pattern = settings.inbound_stat_name
    return _filled(pattern, service, number=port.service_port, subset="", target=port.port)


def _filled(pattern: str, service: Service, *, number: int, subset: str, target: int) -> str:
    port = service.port(number)
    kubernetes = service.registry == "Kubernetes"
    short = f"{service.name}.{service.namespace}" if kubernetes else service.host
    values = {
        "%SERVICE_FQDN%": service.host,
        "%SERVICE_NAME%": service.name,
        "%SERVICE_PORT_NAME%": port.name if port else "",
        "%SERVICE_PORT%": str(number),
        "%TARGET_PORT%": str(target) if target else "",
        "%SUBSET_NAME%": subset,
        "%SERVICE%": short,
    }
    for placeholder, value in values.items():
        pattern = pattern.replace(placeholder, value)
    return names.stat_prefix(pattern)
