"""Peer policies: one row for each PeerAuthentication.

Which one decides for a workload is worked out in `libs.proxy`; here only those that can never
decide anything are found: of two for a whole namespace, the newer.
"""

from typing import cast

from libs.api import reasons
from libs.api.problem import Problem
from libs.api.security.peer_authentication import MutualTls, PeerAuthentication
from libs.model.mesh import Key, Table
from libs.model.security import MtlsMode, PeerPolicy
from libs.translate.groups import Group
from libs.translate.order import age
from libs.translate.state import Derived
from libs.translate.view import View


def derive(_: View, resource: PeerAuthentication) -> Derived:
    """Return the row of a PeerAuthentication."""
    metadata, spec = resource.metadata, resource.spec
    row = PeerPolicy(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        selector=spec.selector.match_labels if spec.selector else {},
        mode=_mode(spec.mtls),
        ports={port: _mode(mtls) for port, mtls in spec.port_level_mtls.items()},
    )
    return Derived(rows=((Key(Table.PEER_POLICY, resource.ref), row),))


def _mode(mtls: MutualTls | None) -> MtlsMode:
    return MtlsMode(mtls.mode) if mtls else MtlsMode.UNSET


def check(view: View, resource: PeerAuthentication) -> Derived:
    """Return a problem if an older policy already decides for the whole namespace."""
    own = cast("PeerPolicy | None", view.row(Table.PEER_POLICY, resource.ref))
    if own is None or own.selector:
        return Derived()
    rows = view.rows(Table.PEER_POLICY, Group.WIDE_PEER_POLICIES, own.namespace)
    oldest = min(cast("list[PeerPolicy]", rows), key=age)
    if oldest.ref == own.ref:
        return Derived()
    text = f"{oldest.ref} is older and already decides for the whole namespace {own.namespace}"
    return Derived(problems=(Problem(own.ref, "spec", reasons.CONFLICTING_POLICY, text),))
