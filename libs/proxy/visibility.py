"""Which services and routings a namespace may see: exportTo, and one service for each host.

An `export_to` is a set of `.` (the owner's namespace), `*` (everybody), `~` (nobody) and names of
namespaces; an empty one means the mesh's default. `*` beats `~`, and `~` beats the rest.
"""

from collections.abc import Iterable, Mapping, Sequence

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


def age(row: Service) -> tuple[int, str, str]:
    """Return the key by which the oldest service comes first; names break ties."""
    return row.created, row.name or row.host, row.namespace


class ServiceIndex:
    """The services of a mesh by who may see them."""

    def __init__(self, services: Iterable[Service], default: Sequence[str]) -> None:
        self._public: dict[str, Service] = {}
        self._exported: dict[str, list[Service]] = {}
        self._seen: dict[str, Mapping[str, Service]] = {}
        for service in services:
            for namespace in audience(service.export_to, default, service.namespace):
                if namespace != PUBLIC:
                    self._exported.setdefault(namespace, []).append(service)
                    continue
                # A public service is also its own namespace's, where it outranks all others.
                self._exported.setdefault(service.namespace, []).append(service)
                _place(self._public, service, PUBLIC)

    def seen_from(self, namespace: str) -> Mapping[str, Service]:
        """Return the services that `namespace` sees, by host.

        Of several services of one host the namespace's own wins, then one of Kubernetes, then the
        oldest.
        """
        seen = self._seen.get(namespace)
        if seen is None:
            found = dict(self._public)
            for service in self._exported.get(namespace, ()):
                _place(found, service, namespace)
            seen = self._seen[namespace] = found
        return seen


def _place(found: dict[str, Service], service: Service, namespace: str) -> None:
    rival = found.get(service.host)
    if rival is None or _rank(service, namespace) < _rank(rival, namespace):
        found[service.host] = service


def _rank(service: Service, namespace: str) -> tuple[bool, bool, tuple[int, str, str]]:
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
