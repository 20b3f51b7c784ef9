"""The name of an outbound cluster: who is called, at which port, which subset of it.

A scope speaks of clusters before there are any, so the name lives here; Envoy's side finds it in
`libs.xds.names` beside all others. The only formatter and parser.
"""

from typing import NamedTuple


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
    if direction != "outbound" or not (port.isascii() and port.isdigit()) or not host:
        return None
    return ClusterName(int(port), subset, host)
