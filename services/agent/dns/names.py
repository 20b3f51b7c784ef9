"""Names: which names of the mesh have which addresses, as an application may write them.

A host goes by its full name; one of Kubernetes in the proxy's own cluster also by every shorter
form that Kubernetes' search domains would complete. A resolver appends its first search domain
before it asks for the name alone: that is answered at once, as another name of the host. Hosts may
be wildcards; the longest that fits is taken. Only full names are kept: shorter ones are completed
when they are asked for.
"""

from collections.abc import Mapping, Sequence
from ipaddress import ip_address

from msgspec import Struct

from libs.protos.istio.nds.v1.nds_pb2 import NameTable
from services.agent.dns import messages

_KUBERNETES = "Kubernetes"


class Host(Struct, frozen=True, gc=False):
    """The addresses of a name, by family."""

    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]
    shortened: bool = False
    """It goes by shorter forms, too."""

    def of(self, kind: int) -> tuple[str, ...]:
        """Return the addresses of a type of record."""
        return {messages.A: self.ipv4, messages.AAAA: self.ipv6}.get(kind, ())


class Found(Struct, frozen=True):
    """A host, and the name it was found by if the resolver had completed that."""

    host: Host
    alias: str = ""


class Names:
    """One table, ready to be asked."""

    def __init__(self, hosts: Mapping[str, Host], domain: str, search: str) -> None:
        self.hosts = hosts
        self._suffix = f".{search}" if search else ""
        self._completions = _completions(domain)

    def find(self, name: str) -> Found | None:
        """Return the host of a lower-case name without the dot at its end."""
        if host := self._exact(name):
            return Found(host)
        plain = name.removesuffix(self._suffix) if self._suffix else name
        completed = plain != name
        if completed and (host := self._exact(plain)):
            return Found(host, plain)
        if host := self._wildcard(name):
            return Found(host)
        if completed and (host := self._wildcard(plain)):
            return Found(host, plain)
        return None

    def _exact(self, name: str) -> Host | None:
        if host := self.hosts.get(name):
            return host
        for completion in self._completions:
            host = self.hosts.get(name + completion)
            if host and host.shortened:
                return host
        return None

    def _wildcard(self, name: str) -> Host | None:
        rest = name
        while rest:
            _, _, rest = rest.partition(".")
            if host := self.hosts.get(f"*.{rest}"):
                return host
        return None


def build(table: NameTable, *, domain: str, search: Sequence[str] = ()) -> Names:
    """Return the names of a table.

    Args:
        table: what the control plane sent.
        domain: of the proxy, `<namespace>.svc.<cluster domain>`.
        search: the resolver's search domains, of which the first counts.

    """
    cluster = domain.partition(".")[2]
    hosts: dict[str, Host] = {}
    for written, info in table.table.items():
        name = written.lower().rstrip(".")
        shortened = info.registry == _KUBERNETES and name.endswith(f".{info.namespace}.{cluster}")
        hosts[name] = _host(info, shortened=shortened)
    return Names(hosts, domain, search[0].lower().strip(".") if search else "")


def _host(info: NameTable.NameInfo, *, shortened: bool) -> Host:
    by_family: dict[int, list[str]] = {4: [], 6: []}
    for text in info.ips:
        try:
            by_family[ip_address(text).version].append(text)
        except ValueError:
            continue  # a table that is wrong in one place is right in the others
    return Host(tuple(by_family[4]), tuple(by_family[6]), shortened)


def _completions(domain: str) -> tuple[str, ...]:
    """Return what `a`, `a.ns`, `a.ns.svc`, … lack; the first only in the proxy's own namespace."""
    labels = domain.split(".")
    return tuple("." + ".".join(labels[count:]) for count in range(len(labels)))
