"""Access policies: one row for each AuthorizationPolicy.

Whom it selects and in which order policies act is decided in `libs.proxy`.
"""

from collections.abc import Iterator
from typing import cast

from libs.api import reasons
from libs.api.problem import Problem
from libs.api.security import authorization_policy as api
from libs.model.mesh import Key, Table
from libs.model.providers import Authorizer
from libs.model.security import AccessPolicy, AccessRule, Action, Condition, Operation, Source
from libs.model.service import Service
from libs.translate.attachments import attached
from libs.translate.groups import Group
from libs.translate.state import Derived
from libs.translate.view import View

DRY_RUN = "istio.io/dry-run"


def derive(view: View, resource: api.AuthorizationPolicy) -> Derived:
    """Return the row of an AuthorizationPolicy.

    One whose targets are all for waypoints gives no row: without its attachment it would decide for
    every workload of its namespace.
    """
    metadata, spec = resource.metadata, resource.spec
    to = attached(resource.ref, spec.target_ref, spec.target_refs)
    if to.targets is None:
        return Derived(problems=to.problems)
    row = AccessPolicy(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        selector=spec.selector.match_labels if spec.selector else {},
        targets=to.targets,
        action=Action(spec.action),
        rules=tuple(_rule(rule, metadata.namespace) for rule in spec.rules or ()),
        provider=spec.provider.name if spec.provider else "",
        dry_run=metadata.annotations.get(DRY_RUN) == "true",
    )
    return Derived(
        rows=((Key(Table.ACCESS_POLICY, resource.ref), row),),
        problems=(*to.problems, *_of_provider(row, view)),
    )


def check(view: View, resource: api.AuthorizationPolicy) -> Derived:
    """Return a problem for each policy that sends the same workload to another authorizer.

    There can be one: whatever any of them covers is refused then.
    """
    own = cast("AccessPolicy | None", view.row(Table.ACCESS_POLICY, resource.ref))
    if own is None or own.action is not Action.CUSTOM or own.dry_run:
        return Derived()
    root = view.settings.root_namespace
    places = {own.namespace, root}
    rows = [
        cast("AccessPolicy", row)
        for place in sorted(places)
        for row in view.rows(Table.ACCESS_POLICY, Group.CUSTOM_POLICIES, place)
    ]
    rivals = (row for row in rows if row.provider != own.provider and _may_meet(row, own))
    return Derived(
        problems=tuple(
            Problem(
                own.ref,
                "spec.provider.name",
                reasons.CONFLICTING_POLICY,
                f"{rival.ref} names {rival.provider} for workloads that both select: "
                "whatever either covers is refused there",
            )
            for rival in rivals
        )
    )


def _may_meet(one: AccessPolicy, other: AccessPolicy) -> bool:
    """Tell whether some workload could be both policies'."""
    if one.targets or other.targets:
        return bool(set(one.targets) & set(other.targets))
    shared = one.selector.keys() & other.selector.keys()
    return all(one.selector[label] == other.selector[label] for label in shared)


def _of_provider(row: AccessPolicy, view: View) -> Iterator[Problem]:
    """Say why a policy refuses everything that it covers instead of asking its authorizer."""
    if row.action is not Action.CUSTOM:
        return
    known = [it for it in view.settings.providers if it.name == row.provider]
    found = next((it for it in known if isinstance(it, Authorizer)), None)
    path = "spec.provider.name"
    if found is None:
        text = (
            f"MeshConfig has no authorizer {row.provider[:100]!r}: what the rules cover is refused"
        )
        yield Problem(row.ref, path, reasons.UNKNOWN_PROVIDER, text)
        return
    services = cast("list[Service]", view.rows(Table.SERVICE, Group.SERVICES, found.host))
    if not any(service.port(found.port) for service in services):
        text = f"no service {found.host} has a port {found.port}: what the rules cover is refused"
        yield Problem(row.ref, path, reasons.HOST_NOT_FOUND, text)


def _rule(rule: api.Rule, namespace: str) -> AccessRule:
    return AccessRule(
        sources=tuple(_source(it.source or api.Source(), namespace) for it in rule.from_ or ()),
        operations=tuple(_operation(it.operation or api.Operation()) for it in rule.to or ()),
        conditions=tuple(
            Condition(key=it.key, values=it.values, not_values=it.not_values) for it in rule.when
        ),
    )


def _source(source: api.Source, namespace: str) -> Source:
    return Source(
        principals=source.principals,
        not_principals=source.not_principals,
        request_principals=source.request_principals,
        not_request_principals=source.not_request_principals,
        namespaces=source.namespaces,
        not_namespaces=source.not_namespaces,
        service_accounts=_accounts(source.service_accounts, namespace),
        not_service_accounts=_accounts(source.not_service_accounts, namespace),
        trust_domains=source.trust_domains,
        not_trust_domains=source.not_trust_domains,
        ip_blocks=source.ip_blocks,
        not_ip_blocks=source.not_ip_blocks,
        remote_ip_blocks=source.remote_ip_blocks,
        not_remote_ip_blocks=source.not_remote_ip_blocks,
    )


def _accounts(written: tuple[str, ...], namespace: str) -> tuple[str, ...]:
    """An account without a namespace is of the policy's own."""
    return tuple(it if "/" in it else f"{namespace}/{it}" for it in written)


def _operation(operation: api.Operation) -> Operation:
    return Operation(
        hosts=operation.hosts,
        not_hosts=operation.not_hosts,
        ports=tuple(int(port) for port in operation.ports),
        not_ports=tuple(int(port) for port in operation.not_ports),
        methods=operation.methods,
        not_methods=operation.not_methods,
        paths=operation.paths,
        not_paths=operation.not_paths,
    )
