"""Host policies (DestinationRules): which one a client follows for a host, and what it then says.

Three places are searched, and the first with a policy for the host ends the search: the client's
namespace, the service's namespace, the root namespace. Within a place the most specific host
counts. Policies of one place, host and audience are one policy; of several audiences the newest
that the client belongs to counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from msgspec import Struct, structs

from libs.model import hosts
from libs.model.ids import Ref
from libs.model.traffic import HostPolicy, Subset, TrafficPolicy
from libs.proxy.memo import Memo

NOTHING_SAID = TrafficPolicy()


class MergedPolicy(Struct, frozen=True, gc=False, kw_only=True):
    """All policies of one namespace, host, audience and selector, as one."""

    refs: tuple[Ref, ...]  # oldest first; the first gives the policy its name
    namespace: str
    host: str
    audience: frozenset[str]  # as written, with the owner's namespace for "."; empty: the default
    selector: dict[str, str] | None
    policy: TrafficPolicy | None
    subsets: tuple[Subset, ...]


class _Place:
    """The policies that are searched together."""

    def __init__(self, made: Memo[MergedPolicy]) -> None:
        self._made = made
        self._hosts: dict[str, list[MergedPolicy]] = {}
        self._wildcards: list[str] = []

    def add(self, incoming: MergedPolicy) -> None:
        merged = self._hosts.get(incoming.host)
        if merged is None:
            merged = self._hosts[incoming.host] = []
            if hosts.is_wildcard(incoming.host):
                self._wildcards.append(incoming.host)
                self._wildcards.sort(key=hosts.specificity, reverse=True)
        for position, existing in enumerate(merged):
            if _one(existing, incoming):
                both = partial(_merge, existing, incoming)
                merged[position] = self._made.get((existing, incoming), both)
                return
        merged.append(incoming)

    def patterns(self) -> Iterable[str]:
        """Return the hosts that policies are for."""
        return self._hosts

    def find(self, host: str) -> Sequence[MergedPolicy]:
        """Return the policies of the most specific pattern that covers `host`."""
        exact = self._hosts.get(host)
        if exact is not None:
            return exact
        covering = (pattern for pattern in self._wildcards if hosts.matches(pattern, host))
        nearest = next(covering, None)
        return self._hosts[nearest] if nearest is not None else ()


def _one(left: MergedPolicy, right: MergedPolicy) -> bool:
    return left.audience == right.audience and left.selector == right.selector


def _merge(older: MergedPolicy, newer: MergedPolicy) -> MergedPolicy:
    named = {subset.name for subset in older.subsets}
    added = tuple(subset for subset in newer.subsets if subset.name not in named)
    return structs.replace(
        older,
        refs=older.refs + newer.refs,
        policy=newer.policy if older.policy is None else older.policy,
        subsets=older.subsets + added,
    )


class Special(NamedTuple):
    """Hosts, by name and by pattern."""

    names: frozenset[str]
    wildcards: frozenset[str]

    def covers(self, host: str) -> bool:
        """Tell whether `host` is one of them."""
        if host in self.names:
            return True
        return bool(self.wildcards) and any(hosts.matches(one, host) for one in self.wildcards)


ANYBODY = ""
"""A client like most: nothing is special for it."""


class PolicyIndex:
    """The host policies of a mesh by where they are searched.

    `made` keeps merged policies the same objects from one index to the next.
    """

    def __init__(
        self,
        policies: Iterable[HostPolicy],
        default: Sequence[str],
        root_namespace: str,
        *,
        made: Memo[MergedPolicy] | None = None,
    ) -> None:
        self._made = Memo[MergedPolicy]() if made is None else made
        self._root = root_namespace
        self._local: dict[str, _Place] = {}
        self._exported: dict[str, _Place] = {}
        self._root_private = self._place()
        self._selector_labels: dict[str, set[str]] = {}
        default_private = "." in default
        self._named: set[str] = set()  # hosts of policies that are for certain namespaces only
        for policy in sorted(policies, key=_age):
            self._add(policy, default_private)

    def _add(self, policy: HostPolicy, default_private: bool) -> None:
        merged = self._made.get((policy,), partial(_as_merged, policy))
        namespace = policy.namespace
        if policy.selector is not None:
            self._selector_labels.setdefault(namespace, set()).update(policy.selector)
        if not merged.audience or merged.audience & {"*", namespace}:
            self._local.setdefault(namespace, self._place()).add(merged)
        private = default_private if not merged.audience else merged.audience == {namespace}
        if merged.audience - {"*", namespace}:
            self._named.add(merged.host)
        if not private:
            self._exported.setdefault(namespace, self._place()).add(merged)
        elif namespace == self._root:
            self._root_private.add(merged)

    def _place(self) -> _Place:
        return _Place(self._made)

    def special(self, client: str) -> "Special":
        """Return the hosts for which `client` may follow other policies than most clients do."""
        place = self._root_private if client == self._root else self._local.get(client)
        patterns = frozenset({*self._named, *(place.patterns() if place is not None else ())})
        wildcards = frozenset(filter(hosts.is_wildcard, patterns))
        return Special(patterns - wildcards, wildcards)

    def selector_labels(self, namespace: str) -> frozenset[str]:
        """Return the labels by which policies of `namespace` choose their clients."""
        return frozenset(self._selector_labels.get(namespace, ()))

    def find(
        self, *, client: str, labels: Mapping[str, str], host: str, owner: str
    ) -> MergedPolicy | None:
        """Return the policy for `host`, a service of namespace `owner`, as `client` follows it."""
        place = self._root_private if client == self._root else self._local.get(client)
        found = place.find(host) if place is not None else ()
        for namespace in (owner, self._root):
            if found:
                break
            found = self._exported_to(client, namespace, host)
        return _for_labels(found, client, labels)

    def _exported_to(self, client: str, namespace: str, host: str) -> Sequence[MergedPolicy]:
        place = self._exported.get(namespace)
        if place is None:
            return ()
        return [
            policy
            for policy in place.find(host)
            if not policy.audience or policy.audience & {"*", client}
        ]


def _age(policy: HostPolicy) -> tuple[bool, int, str, str]:
    return policy.selector is None, policy.created, policy.name, policy.namespace


def _as_merged(policy: HostPolicy) -> MergedPolicy:
    wanted = policy.export_to if policy.selector is None else (".",)
    return MergedPolicy(
        refs=(policy.ref,),
        namespace=policy.namespace,
        host=policy.host,
        audience=frozenset(policy.namespace if name == "." else name for name in wanted),
        selector=policy.selector,
        policy=policy.policy,
        subsets=_unique(policy.subsets),
    )


def _unique(subsets: Sequence[Subset]) -> tuple[Subset, ...]:
    by_name: dict[str, Subset] = {}
    for subset in subsets:
        by_name.setdefault(subset.name, subset)
    return tuple(by_name.values())


def _for_labels(
    found: Sequence[MergedPolicy], client: str, labels: Mapping[str, str]
) -> MergedPolicy | None:
    for policy in found:
        chosen = policy.selector is not None and policy.selector.items() <= labels.items()
        if chosen and policy.namespace == client:
            return policy
    everybody = [policy for policy in found if policy.selector is None]
    return everybody[-1] if everybody else None


def at_port(host: TrafficPolicy | None, subset: TrafficPolicy | None, port: int) -> TrafficPolicy:
    """Return what a host's policy and a subset's policy together say about `port`.

    An entry for the port replaces the policy it stands in. A subset's policy is laid over the
    host's block by block (a connection pool is one block), but if the subset has an entry for the
    port, blocks that the entry leaves out fall back to the mesh's defaults, not to the host's.
    """
    below, _ = _port_entry(host, port)
    if subset is None:
        return below
    above, replaces = _port_entry(subset, port)
    if host is None:
        return above
    return TrafficPolicy(
        load_balancing=above.load_balancing or (None if replaces else below.load_balancing),
        connection_pool=above.connection_pool or (None if replaces else below.connection_pool),
        outlier_detection=above.outlier_detection
        or (None if replaces else below.outlier_detection),
        tls=above.tls or (None if replaces else below.tls),
        proxy_protocol=above.proxy_protocol or below.proxy_protocol,
        tunnel=above.tunnel or below.tunnel,
        retry_budget=above.retry_budget or below.retry_budget,
    )


def over_default(policy: TrafficPolicy, default: TrafficPolicy | None) -> TrafficPolicy:
    """Return a policy with what it leaves open to the mesh, block by block."""
    if default is None:
        return policy
    return structs.replace(
        policy,
        connection_pool=policy.connection_pool or default.connection_pool,
        outlier_detection=policy.outlier_detection or default.outlier_detection,
    )


def _port_entry(policy: TrafficPolicy | None, port: int) -> tuple[TrafficPolicy, bool]:
    if policy is None:
        return NOTHING_SAID, False
    entry = policy.ports.get(port)
    if entry is None:
        return structs.replace(policy, ports={}) if policy.ports else policy, False
    kept = TrafficPolicy(
        load_balancing=entry.load_balancing,
        connection_pool=entry.connection_pool,
        outlier_detection=entry.outlier_detection,
        tls=entry.tls,
        # Nothing of this can be said at a port, so it is not replaced either.
        proxy_protocol=policy.proxy_protocol,
        tunnel=policy.tunnel,
        retry_budget=policy.retry_budget,
    )
    return kept, True
