"""Which services and routings a namespace may see: exportTo, and one service for each host.

An `export_to` is a set of `.` (the owner's namespace), `*` (everybody), `~` (nobody) and names of
namespaces; an empty one means the mesh's default. `*` beats `~`, and `~` beats the rest.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from libs.model import hosts
from libs.model.service import Resolution, Service

PUBLIC = "*"
NOBODY = "~"
OWNER = "."


def audience(export_to: Sequence[str], default: Sequence[str], owner: str) -> frozenset[str]:
    """Return the namespaces that may see something of `owner`, or {"*"} for all of them."""
    wanted = frozenset(export_to or default)
    if PUBLIC in wanted:
        return frozenset({PUBLIC})
    if NOBODY in wanted:
        return frozenset()
    return frozenset(owner if name == OWNER else name for name in wanted)


def age(row: Service) -> tuple[int, str, str, str]:
    """Return the key by which the oldest service comes first; names break ties."""
    return row.created, row.name or row.host, row.namespace, row.key


class ServiceIndex:
    """The services of a mesh by who may see them."""

    def __init__(self, services: Iterable[Service], default: Sequence[str]) -> None:
        self._public: dict[str, Service] = {}
        self._exported: dict[str, list[Service]] = {}
        self._seen: dict[str, Mapping[str, Service]] = {}
        self._all: list[Service] = []
        self._owned: dict[str, list[Service]] = {}
        self._named: dict[str, list[Service]] = {}
        self._audiences: dict[str, frozenset[str]] = {}
        for service in services:
            seen_by = audience(service.export_to, default, service.namespace)
            self._all.append(service)
            self._owned.setdefault(service.namespace, []).append(service)
            self._named.setdefault(service.host, []).append(service)
            self._audiences[service.key] = seen_by
            for namespace in seen_by:
                if namespace != PUBLIC:
                    self._exported.setdefault(namespace, []).append(service)
                    continue
                # A public service is also its own namespace's, where it outranks all others.
                self._exported.setdefault(service.namespace, []).append(service)
                place(self._public, service, PUBLIC)

    def seen_from(self, namespace: str) -> Mapping[str, Service]:
        """Return the services that `namespace` sees, by host.

        Of several services of one host the namespace's own wins, then one of Kubernetes, then the
        oldest.
        """
        seen = self._seen.get(namespace)
        if seen is None:
            found = dict(self._public)
            for service in self._exported.get(namespace, ()):
                place(found, service, namespace)
            seen = self._seen[namespace] = found
        return seen

    def covered(self, namespace: str, owner: str, pattern: str) -> Iterator[Service]:
        """Yield what `namespace` sees of `owner`'s services (`*`: of all) that `pattern` covers."""
        candidates = self._all
        if owner != PUBLIC:
            candidates = self._owned.get(owner, [])
        elif not hosts.is_wildcard(pattern):
            candidates = self._named.get(pattern, [])
        for service in candidates:
            seen_by = self._audiences[service.key]
            if (PUBLIC in seen_by or namespace in seen_by) and hosts.matches(pattern, service.host):
                yield service


def place(found: dict[str, Service], service: Service, namespace: str) -> None:
    """Put a service where its host stands, unless one is there that `namespace` prefers."""
    rival = found.get(service.host)
    if rival is None or _rank(service, namespace) < _rank(rival, namespace):
        found[service.host] = service


def _rank(service: Service, namespace: str) -> tuple[bool, bool, tuple[int, str, str, str]]:
    return service.namespace != namespace, service.registry != "Kubernetes", age(service)


def concrete(seen: Mapping[str, Service], service: Service) -> Service | None:
    """Return the service that `service` finally stands for, itself if it is no alias.

    None when the chain of aliases leaves the mesh or runs in a circle.
    """
    passed: set[str] = set()
    while service.resolution is Resolution.ALIAS:
        if service.host in passed:
            return None
        passed.add(service.host)
        following = seen.get(service.alias_of)
        if following is None:
            return None
        service = following
    return service
