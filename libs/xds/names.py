"""Names that users see in Envoy, each with its only formatter and parser."""

from typing import NamedTuple

PASSTHROUGH_CLUSTER = "PassthroughCluster"
BLACK_HOLE_CLUSTER = "BlackHoleCluster"
INBOUND_PASSTHROUGH_CLUSTER = "InboundPassthroughCluster"
VIRTUAL_OUTBOUND = "virtualOutbound"
VIRTUAL_INBOUND = "virtualInbound"
HTTP_PROXY_ROUTE = "http_proxy"

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006


class ClusterName(NamedTuple):
    """The parts of an outbound cluster's name."""

    port: int
    subset: str
    host: str

    def __str__(self) -> str:
        return f"outbound|{self.port}|{self.subset}|{self.host}"

    @property
    def sni(self) -> str:
        """The server name that a client sends over mesh TLS."""
        return f"outbound_.{self.port}_.{self.subset}_.{self.host}"


def parse_cluster(name: str) -> ClusterName | None:
    """Return the parts of an outbound cluster's name, or None for any other cluster."""
    direction, _, rest = name.partition("|")
    port, _, rest = rest.partition("|")
    subset, _, host = rest.partition("|")
    if direction != "outbound" or not port.isdigit() or not host:
        return None
    return ClusterName(int(port), subset, host)


def inbound_cluster(port: int) -> str:
    """Return the name of the cluster (and route) for the workload's own port."""
    return f"inbound|{port}||"


def virtual_host(host: str, port: int) -> str:
    """Return the name of the virtual host for one port of a host."""
    return f"{host}:{port}"
