"""Names: how a name written in a resource becomes the full name that the model holds.

Hosts are expanded by `libs.model.hosts` alone; this adds what only gateways' names need.
"""

from collections.abc import Iterable

from libs.model.hosts import expand
from libs.model.settings import MeshSettings
from libs.model.traffic import MESH_GATEWAY


class Names:
    """Expands the names written in one resource, as seen from its namespace."""

    def __init__(self, namespace: str, settings: MeshSettings) -> None:
        self._namespace = namespace
        self._domain = settings.cluster_domain

    def host(self, written: str) -> str:
        """Return the full name of a host; only single-label names are short."""
        return expand(written, self._namespace, self._domain)

    def hosts(self, written: Iterable[str]) -> tuple[str, ...]:
        """Return the full names of hosts, in their order, each once."""
        return tuple(dict.fromkeys(self.host(host) for host in written))

    def gateway(self, written: str) -> str:
        """Return `<namespace>/<name>` of a gateway; `mesh` stays what it is.

        The old form `<name>.<namespace>.svc.<domain>` is understood too.
        """
        if written == MESH_GATEWAY:
            return written
        namespace, slash, name = written.partition("/")
        if slash:
            return f"{self._namespace}/{name}" if namespace == "." else written
        name, dot, rest = written.partition(".")
        return f"{rest.split('.', 1)[0]}/{name}" if dot else f"{self._namespace}/{name}"

    def gateways(self, written: Iterable[str]) -> tuple[str, ...]:
        """Return the full names of gateways, in their order, each once."""
        return tuple(dict.fromkeys(self.gateway(name) for name in written))
