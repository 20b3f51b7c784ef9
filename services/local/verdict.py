"""Verdict: what the user's policies ask to become of a call, worked out from the model alone.

The table compares this with what the real proxies did, so nothing here may look at xDS. It covers
what a policy can say about identities, ports, methods and paths; a policy that says more is not
judged (`UNKNOWN`), rather than judged wrong.
"""

from collections.abc import Callable, Iterable
from enum import StrEnum

from msgspec import Struct, structs

from libs.model.ids import Ref, SpiffeId
from libs.model.mesh import Mesh
from libs.model.security import AccessPolicy, AccessRule, Action, MtlsMode, Operation, Source
from libs.model.workload import Workload
from libs.proxy.peers import PeerPolicies, selects


class Fate(StrEnum):
    """What is to become of a call."""

    ALLOWED = "allowed"
    DENIED = "denied"  # by an AuthorizationPolicy
    REFUSED = "refused"  # plain text where mutual TLS is required
    UNKNOWN = "unknown"


class Call(Struct, frozen=True, kw_only=True):
    """One call as the callee's proxy sees it. `method` and `path` are empty for plain TCP."""

    caller: Workload
    callee: Workload
    port: int  # of the callee's workload
    method: str = ""
    path: str = ""


class Verdict(Struct, frozen=True):
    """The fate of a call, and whether the caller's identity is to be proved.

    `policies` are those that decided: that refuse, deny, allow it, or accept its plain text.
    `rule` is the name that the proxy gives to the deciding rule; empty if no rule allowed it.
    """

    fate: Fate
    policies: tuple[Ref, ...] = ()
    rule: str = ""
    identity: str = ""  # the SPIFFE id to be proved; empty for plain text


class _UnjudgedError(Exception):
    """A policy uses what is not covered here."""


def judge(mesh: Mesh, call: Call) -> Verdict:
    """Return what is to become of `call`."""
    callee = call.callee
    mode, refs = PeerPolicies(mesh).effective(callee.namespace, callee.labels, call.port)
    mutual = call.caller.mtls and callee.mtls and mode is not MtlsMode.DISABLE
    if not mutual and callee.mtls and mode is MtlsMode.STRICT:
        return Verdict(Fate.REFUSED, refs[:1])
    if not callee.mtls:
        return Verdict(Fate.ALLOWED)  # it has no sidecar that could refuse
    identity = _identity(mesh, call.caller) if mutual else None
    try:
        verdict = _access(mesh, call, identity)
    except _UnjudgedError:
        return Verdict(Fate.UNKNOWN, identity=str(identity or ""))
    if verdict.fate is Fate.ALLOWED and not mutual:
        return structs.replace(verdict, policies=(*refs[:1], *verdict.policies))
    return verdict


def _identity(mesh: Mesh, caller: Workload) -> SpiffeId:
    return SpiffeId(mesh.settings.trust_domain, caller.namespace, caller.service_account)


def _access(mesh: Mesh, call: Call, identity: SpiffeId | None) -> Verdict:
    proved = str(identity or "")
    policies = [policy for policy in mesh.access_policies.values() if _applies(mesh, policy, call)]
    if any(policy.action is Action.CUSTOM for policy in policies):
        raise _UnjudgedError
    for policy in policies:
        if policy.action is Action.DENY and (rule := _matching(policy, call, identity)):
            return Verdict(Fate.DENIED, (policy.ref,), rule, proved)
    allowing = [policy for policy in policies if policy.action is Action.ALLOW]
    by = tuple(policy.ref for policy in allowing if _matching(policy, call, identity))
    if by or not allowing:
        return Verdict(Fate.ALLOWED, by, identity=proved)
    return Verdict(Fate.DENIED, tuple(sorted(policy.ref for policy in allowing)), "", proved)


def _applies(mesh: Mesh, policy: AccessPolicy, call: Call) -> bool:
    places = {mesh.settings.root_namespace, call.callee.namespace}
    return (
        not policy.dry_run
        and policy.namespace in places
        and selects(policy.selector, call.callee.labels)
    )


def _matching(policy: AccessPolicy, call: Call, identity: SpiffeId | None) -> str:
    """Return the proxy's name for the first rule of `policy` that matches, or nothing."""
    allow = policy.action is Action.ALLOW
    for index, rule in enumerate(policy.rules):
        if _rule_matches(rule, call, identity, allow=allow):
            return f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{index}]"
    return ""


def _rule_matches(rule: AccessRule, call: Call, identity: SpiffeId | None, *, allow: bool) -> bool:
    if rule.conditions:
        raise _UnjudgedError
    http = bool(call.method)
    if not http and allow and any(_only_http(operation) for operation in rule.operations):
        return False  # on TCP such a rule is left out: to allow less is the safe side
    from_matches = not rule.sources or any(_source(one, identity) for one in rule.sources)
    to_matches = not rule.operations or any(_operation(one, call) for one in rule.operations)
    return from_matches and to_matches


def _source(source: Source, identity: SpiffeId | None) -> bool:
    judged = {
        "principals",
        "not_principals",
        "namespaces",
        "not_namespaces",
        "service_accounts",
        "not_service_accounts",
    }
    _refuse_others(source, judged)
    principal = identity.principal if identity else ""
    namespace = identity.namespace if identity else ""
    account = f"{namespace}/{identity.service_account}" if identity else ""
    return (
        _holds(source.principals, source.not_principals, principal)
        and _holds(source.namespaces, source.not_namespaces, namespace)
        and _holds(source.service_accounts, source.not_service_accounts, account)
    )


def _operation(operation: Operation, call: Call) -> bool:
    judged = {"ports", "not_ports", "methods", "not_methods", "paths", "not_paths"}
    _refuse_others(operation, judged)
    ports = not operation.ports or call.port in operation.ports
    if not ports or call.port in operation.not_ports:
        return False
    if not call.method:
        return True  # what only HTTP has is passed over
    path = call.path.partition("?")[0]
    return _holds(operation.methods, operation.not_methods, call.method) and _holds(
        operation.paths, operation.not_paths, path
    )


def _only_http(operation: Operation) -> bool:
    fields = ("hosts", "not_hosts", "methods", "not_methods", "paths", "not_paths")
    return any(getattr(operation, name) for name in fields)


def _refuse_others(part: Source | Operation, judged: Iterable[str]) -> None:
    if any(getattr(part, name) for name in part.__struct_fields__ if name not in judged):
        raise _UnjudgedError


def _holds(wanted: tuple[str, ...], unwanted: tuple[str, ...], value: str) -> bool:
    matches: Callable[[str], bool] = lambda pattern: _matches(pattern, value)  # noqa: E731
    return (not wanted or any(map(matches, wanted))) and not any(map(matches, unwanted))


def _matches(pattern: str, value: str) -> bool:
    """Compare as policies do: exact, `prefix*`, `*suffix`, or `*` for anything that is there."""
    if "{" in pattern:
        raise _UnjudgedError
    if pattern == "*":
        return bool(value)
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    if pattern.startswith("*"):
        return value.endswith(pattern[1:])
    return value == pattern
