"""RBAC: the access policies of a workload as Envoy filters, for HTTP and for TCP.

A request that a DENY policy matches is refused. Otherwise it passes if there is no ALLOW policy,
or if one matches. Each action is a filter of its own; their order is the order of evaluation. The
name of each Envoy policy, `ns[<namespace>]-policy[<name>]-rule[<index>]`, tells in access logs
what refused a request. Policies that are only to be tried out stand in the filter's shadow rules.

Policies with action CUSTOM only say which requests an authorizer outside is asked about. If theirs
is not known, or cannot be reached, or if several are named, whatever they cover is refused.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from envoy.config.listener.v3.listener_components_pb2 import Filter
from envoy.config.rbac.v3.rbac_pb2 import RBAC, Permission, Policy, Principal
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm,
)
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac

from libs.model.security import AccessPolicy, Action
from libs.model.settings import MeshSettings
from libs.xds.generate import typed
from libs.xds.generate.filters import authorizers, grpc_rules, permissions, principals, rules
from libs.xds.generate.filters.authorizers import Authorizers, Reachable
from libs.xds.generate.filters.trust_domains import TrustDomains

HTTP_NAME = "envoy.filters.http.rbac"
NETWORK_NAME = "envoy.filters.network.rbac"

_STAT_PREFIX = "tcp."
_SHADOW_PREFIXES = {
    RBAC.Action.ALLOW: "istio_dry_run_allow_",
    RBAC.Action.DENY: "istio_dry_run_deny_",
    RBAC.Action.LOG: "",
}
_STAGES = (
    (Action.AUDIT, RBAC.Action.LOG),
    (Action.DENY, RBAC.Action.DENY),
    (Action.ALLOW, RBAC.Action.ALLOW),
)
"""In order of evaluation."""


_BAD = "-deny-due-to-bad-CUSTOM-action"
_NOBODY: Authorizers = {}


class _Rules(NamedTuple):
    """What one filter enforces, and what it only counts; either may be missing."""

    enforced: RBAC | None
    shadow: RBAC | None
    shadow_prefix: str


def http_filters(
    policies: Sequence[AccessPolicy], settings: MeshSettings, asked: Authorizers = _NOBODY
) -> list[hcm.HttpFilter]:
    """Return the filters that judge requests, in order of evaluation."""
    custom = _custom(policies, settings, asked, tcp=False)
    found = [_http(HTTP_NAME, stage) for stage in _stages(policies, settings, tcp=False)]
    if custom is None:
        return found
    if custom.asks is None:
        return [_http(HTTP_NAME, custom.rules), *found]
    asking = authorizers.http_filter(custom.asks)
    return [_http(authorizers.HTTP_RULES, custom.rules), asking, *found]


def grpc_filters(
    policies: Sequence[AccessPolicy], settings: MeshSettings
) -> list[tuple[str, http_rbac.RBAC]]:
    """Return what judges requests inside of a gRPC program, each with a name, in order.

    Nothing is only tried out or logged there, and nobody is asked: what policies with action CUSTOM
    cover is refused.
    """
    chosen = [one for one in policies if not one.dry_run and one.action is not Action.AUDIT]
    context = rules.Context(
        "", TrustDomains(settings), tcp=False, widen=True, testable=grpc_rules.testable
    )
    found: list[tuple[str, RBAC | None]] = []
    if custom := [one for one in chosen if one.action is Action.CUSTOM]:
        found.append(("CUSTOM", _refusing(_rbac(custom, RBAC.Action.DENY, context))))
    for wanted, effect in _STAGES:
        if staged := [one for one in chosen if one.action is wanted]:
            strict = context._replace(widen=effect != RBAC.Action.ALLOW)
            found.append((wanted.value, _rbac(staged, effect, strict)))
    return [(f"{HTTP_NAME}.{name}", http_rbac.RBAC(rules=made)) for name, made in found]


def network_filters(
    policies: Sequence[AccessPolicy], settings: MeshSettings, asked: Authorizers = _NOBODY
) -> list[Filter]:
    """Return the filters that judge connections, in order of evaluation."""
    custom = _custom(policies, settings, asked, tcp=True)
    found = [_network(NETWORK_NAME, stage) for stage in _stages(policies, settings, tcp=True)]
    if custom is None:
        return found
    if custom.asks is None:
        return [_network(NETWORK_NAME, custom.rules), *found]
    asking = authorizers.network_filter(custom.asks)
    if asking is None:
        return found
    return [_network(authorizers.NETWORK_RULES, custom.rules), asking, *found]


def _http(name: str, stage: _Rules) -> hcm.HttpFilter:
    return typed.http_filter(
        name,
        http_rbac.RBAC(
            rules=stage.enforced,
            shadow_rules=stage.shadow,
            shadow_rules_stat_prefix=stage.shadow_prefix,
        ),
    )


def _network(name: str, stage: _Rules) -> Filter:
    return typed.network_filter(
        name,
        network_rbac.RBAC(
            rules=stage.enforced,
            shadow_rules=stage.shadow,
            shadow_rules_stat_prefix=stage.shadow_prefix,
            stat_prefix=_STAT_PREFIX,
        ),
    )


def policy_name(policy: AccessPolicy, index: int) -> str:
    """Return the name that access logs give for the rule of that index."""
    name = f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{index}]"
    if policy.action is not Action.CUSTOM:
        return name
    return f"{authorizers.policy_prefix(policy.provider)}{name}"


class _Custom(NamedTuple):
    """What policies with action CUSTOM come to: whom to ask; None: refuse what they cover."""

    rules: _Rules
    asks: Reachable | None


def _custom(
    policies: Sequence[AccessPolicy], settings: MeshSettings, asked: Authorizers, *, tcp: bool
) -> _Custom | None:
    chosen = [it for it in policies if it.action is Action.CUSTOM and not it.dry_run]
    if not chosen:
        return None
    context = rules.Context("", TrustDomains(settings), tcp, widen=True)
    covered = _rbac(chosen, RBAC.Action.DENY, context)
    names = {policy.provider for policy in chosen}
    to = asked.get(names.pop()) if len(names) == 1 else None
    if to is not None:
        return _Custom(_Rules(None, covered, authorizers.SHADOW_PREFIX), to)
    return _Custom(_Rules(_refusing(covered), None, ""), None)


def _refusing(covered: RBAC | None) -> RBAC:
    """Return the rules under names that tell why what they cover is refused."""
    found = RBAC(action=RBAC.Action.DENY)
    for name, policy in covered.policies.items() if covered else ():
        found.policies[f"{name}{_BAD}"].CopyFrom(policy)
    return found


def _stages(
    policies: Sequence[AccessPolicy], settings: MeshSettings, *, tcp: bool
) -> Iterable[_Rules]:
    domains = TrustDomains(settings)
    for wanted, effect in _STAGES:
        chosen = [policy for policy in policies if policy.action is wanted]
        if chosen:
            widen = effect != RBAC.Action.ALLOW
            yield _stage(chosen, effect, rules.Context("", domains, tcp, widen))


def _stage(
    policies: Sequence[AccessPolicy], effect: RBAC.Action.ValueType, context: rules.Context
) -> _Rules:
    enforced = [policy for policy in policies if not policy.dry_run]
    shadow = [policy for policy in policies if policy.dry_run]
    return _Rules(
        enforced=_rbac(enforced, effect, context),
        shadow=_rbac(shadow, effect, context),
        shadow_prefix=_SHADOW_PREFIXES[effect] if shadow else "",
    )


def _rbac(
    policies: Sequence[AccessPolicy], effect: RBAC.Action.ValueType, context: rules.Context
) -> RBAC | None:
    """Return the rules of `policies`. Rules that were all dropped still allow nothing."""
    if not policies:
        return None
    rbac = RBAC(action=effect)
    for policy in policies:
        own = context._replace(namespace=policy.namespace)
        for index, rule in enumerate(policy.rules):
            if (made := rules.policy(rule, own)) is not None:
                rbac.policies[policy_name(policy, index)].CopyFrom(made)
        if not policy.rules:
            rbac.policies[policy_name(policy, 0)].CopyFrom(_never())
    return rbac


def _never() -> Policy:
    return Policy(
        permissions=[permissions.negated(Permission(any=True))],
        principals=[principals.negated(Principal(any=True))],
    )
