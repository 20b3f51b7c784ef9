"""Pools of inbound ports: what limits the connections from a proxy to its own application.

A host policy's pool holds at both ends: callers' proxies keep to it for what they send, and the
workload's own proxy for all that comes in together, as the policies of its own namespace and of the
root namespace have it, and else the mesh's default. Policies that choose their callers by labels
say nothing to the one called. That a Sidecar's own pool comes first is decided in `inbound`.
"""

from collections.abc import Iterable, Mapping

from libs.model.ids import Ref
from libs.model.service import Service
from libs.model.settings import MeshSettings
from libs.model.traffic import ConnectionPool, HostPolicy
from libs.proxy.policies import NOTHING_SAID, PolicyIndex, at_port, over_default

Policies = tuple[HostPolicy, ...]

_NO_LABELS: Mapping[str, str] = {}


class PoolIndex:
    """The host policies that a namespace's own services go by."""

    def __init__(self, policies: Iterable[HostPolicy], settings: MeshSettings) -> None:
        self._index = PolicyIndex(
            (policy for policy in policies if policy.selector is None),
            settings.host_policy_export_to,
            settings.root_namespace,
        )
        self._default = settings.default_policy

    def of(self, service: Service, port: int) -> tuple[ConnectionPool | None, tuple[Ref, ...]]:
        """Return the pool for a service's port, and the policies that it came from."""
        namespace = service.namespace
        found = self._index.find(
            client=namespace, labels=_NO_LABELS, host=service.host, owner=namespace
        )
        said = at_port(found.policy, None, port) if found else NOTHING_SAID
        pool = over_default(said, self._default).connection_pool
        return pool, found.refs if found and said.connection_pool else ()


class PoolIndexes:
    """The indexes of namespaces; one is made anew when policies that it reads are others."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[object, ...], PoolIndex]] = {}

    def of(self, namespace: str, groups: tuple[Policies, ...], settings: MeshSettings) -> PoolIndex:
        """Return the index of a namespace; the same object while `groups` and `settings` are."""
        inputs = (*groups, settings)
        known = self._known.get(namespace)
        if known is not None and all(old is new for old, new in zip(known[0], inputs, strict=True)):
            return known[1]
        made = PoolIndex((policy for group in groups for policy in group), settings)
        self._known[namespace] = (inputs, made)
        return made
