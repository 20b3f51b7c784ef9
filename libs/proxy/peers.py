"""Peer policies: which mutual TLS mode holds for a workload and each of its ports.

The nearest policy wins: workload (it has a selector), then namespace, then mesh (of the root
namespace, without a selector). Of several in one scope only the oldest counts. UNSET inherits from
the wider scope, and where nothing is said the mode is PERMISSIVE. A policy with a selector in the
root namespace selects nothing. Ports are named by a workload's policy only: the workload's own.
"""

from collections.abc import Iterator, Mapping

from libs.model.ids import Ref
from libs.model.mesh import Mesh
from libs.model.security import MtlsMode, PeerPolicy

Effective = tuple[MtlsMode, tuple[Ref, ...]]
"""A mode and the policies that it comes from, nearest first."""


class PeerPolicies:
    """The peer policies of one mesh, indexed; valid while their table and the settings are."""

    def __init__(self, mesh: Mesh) -> None:
        self._root = mesh.settings.root_namespace
        self._wide: dict[str, PeerPolicy] = {}
        self._narrow: dict[str, list[PeerPolicy]] = {}
        for policy in sorted(mesh.peer_policies.values(), key=_age):
            if policy.selector:
                self._narrow.setdefault(policy.namespace, []).append(policy)
            else:
                self._wide.setdefault(policy.namespace, policy)

    def effective(self, namespace: str, labels: Mapping[str, str], port: int | None) -> Effective:
        """Return the mode of a workload's port, or with None that of all ports not named.

        The mode is never UNSET. With no labels this is the mode of the whole namespace.
        """
        chain = list(self._chain(namespace, labels))
        named = self._port_mode(chain, port)
        if named is not MtlsMode.UNSET:
            return named, (chain[0].ref,)
        refs: list[Ref] = []
        for policy in chain:
            refs.append(policy.ref)
            if policy.mode is not MtlsMode.UNSET:
                return policy.mode, tuple(refs)
        return MtlsMode.PERMISSIVE, tuple(refs)

    def ports(self, namespace: str, labels: Mapping[str, str]) -> tuple[int, ...]:
        """Return the ports that the workload's own policy names, sorted."""
        policy = self._of_workload(namespace, labels)
        return tuple(sorted(policy.ports)) if policy else ()

    def _chain(self, namespace: str, labels: Mapping[str, str]) -> Iterator[PeerPolicy]:
        """Yield the policies that apply, nearest first."""
        if narrow := self._of_workload(namespace, labels):
            yield narrow
        if namespace != self._root and (wide := self._wide.get(namespace)):
            yield wide
        if mesh := self._wide.get(self._root):
            yield mesh

    def _of_workload(self, namespace: str, labels: Mapping[str, str]) -> PeerPolicy | None:
        if namespace == self._root:
            return None
        candidates = self._narrow.get(namespace, ())
        return next((one for one in candidates if selects(one.selector, labels)), None)

    def _port_mode(self, chain: list[PeerPolicy], port: int | None) -> MtlsMode:
        if port is None or not chain or not chain[0].selector:
            return MtlsMode.UNSET
        return chain[0].ports.get(port, MtlsMode.UNSET)


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Tell whether `labels` carry all of `selector`; an empty selector selects everything."""
    return all(labels.get(key) == value for key, value in selector.items())


def _age(policy: PeerPolicy) -> tuple[int, str, str]:
    return policy.created, policy.name, policy.namespace
