"""Rules: one rule of an access policy as an Envoy RBAC policy.

On TCP there is no request. A rule that tests one would have to guess, so it errs on the safe side:
a rule that allows is dropped whole; a rule that denies or logs loses that test and covers more. A
value that means nothing (a malformed address, say) is treated the same way. And a rule that allows
whoever is not somebody does not allow callers that prove nothing at all: in plaintext everybody is
nobody.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from envoy.config.rbac.v3.rbac_pb2 import Permission, Policy, Principal

from libs.model.security import AccessRule, Condition, Operation, Source
from libs.xds.generate.filters import permissions, principals
from libs.xds.generate.filters.trust_domains import TrustDomains

T = TypeVar("T", Permission, Principal)


class Context(NamedTuple):
    """Where a rule stands."""

    namespace: str  # of its policy
    trust_domains: TrustDomains
    tcp: bool
    widen: bool  # what cannot be tested is left out; otherwise the rule is
    testable: Callable[[Permission | Principal], bool] = lambda _: True  # by who enforces it


class _Term(NamedTuple, Generic[T]):
    """One attribute with the values it may have and may not have."""

    test: Callable[[str], T | None]
    values: Sequence[str]
    not_values: Sequence[str]
    http_only: bool = False


class _Logic(NamedTuple, Generic[T]):
    anything: Callable[[], T]
    all_of: Callable[[Sequence[T]], T]
    one_of: Callable[[Sequence[T]], T]
    negated: Callable[[T], T]


class _UntestableError(Exception):
    """The rule cannot be tested where it stands. Never leaves this module."""


_CALLERS = _Logic(principals.anyone, principals.all_of, principals.one_of, principals.negated)
_CALLS = _Logic(permissions.anything, permissions.all_of, permissions.one_of, permissions.negated)


def policy(rule: AccessRule, context: Context) -> Policy | None:
    """Return the Envoy policy of `rule`, or None if it has to be dropped."""
    calling: list[_Term[Principal]] = []
    called: list[_Term[Permission]] = []
    try:
        for condition in rule.conditions:
            _sort_in(condition, context, (calling, called))
        return Policy(
            permissions=[
                _every([*_operation(operation), *called], context, _CALLS)
                for operation in rule.operations or (Operation(),)
            ],
            principals=[
                _every([*_source(source, context), *calling], context, _CALLERS)
                for source in rule.sources or (Source(),)
            ],
        )
    except _UntestableError:
        return None


def _source(source: Source, context: Context) -> Iterator[_Term[Principal]]:
    domains = context.trust_domains
    account = partial(principals.service_account, default_namespace=context.namespace)
    if _only_denies_names(source) and not context.widen:
        yield _PROVED
    yield _Term(
        principals.principal,
        domains.principals(source.principals),
        domains.principals(source.not_principals),
    )
    yield _Term(
        principals.request_principal,
        source.request_principals,
        source.not_request_principals,
        http_only=True,
    )
    yield _Term(account, source.service_accounts, source.not_service_accounts)
    yield _Term(
        principals.trust_domain,
        domains.domains(source.trust_domains),
        domains.domains(source.not_trust_domains),
    )
    yield _Term(principals.namespace, source.namespaces, source.not_namespaces)
    yield _Term(principals.remote_address, source.remote_ip_blocks, source.not_remote_ip_blocks)
    yield _Term(principals.direct_address, source.ip_blocks, source.not_ip_blocks)


_PROVED: _Term[Principal] = _Term(principals.principal, ("*",), ())
"""Whoever proves any identity."""

_NAMING_KEYS = frozenset(
    {"source.principal", "source.trustDomain", "source.namespace", "source.serviceAccount"}
)


def _only_denies_names(source: Source) -> bool:
    """Tell whether a source says who a caller is not, and nothing of who it is."""
    is_one = (
        source.principals,
        source.service_accounts,
        source.trust_domains,
        source.namespaces,
    )
    is_none = (
        source.not_principals,
        source.not_service_accounts,
        source.not_trust_domains,
        source.not_namespaces,
    )
    return any(is_none) and not any(is_one)


def _operation(operation: Operation) -> Iterator[_Term[Permission]]:
    ports, not_ports = map(str, operation.ports), map(str, operation.not_ports)
    yield _Term(permissions.host, operation.hosts, operation.not_hosts, http_only=True)
    yield _Term(permissions.method, operation.methods, operation.not_methods, http_only=True)
    yield _Term(permissions.path, operation.paths, operation.not_paths, http_only=True)
    yield _Term(permissions.port, tuple(ports), tuple(not_ports))


def _sort_in(
    condition: Condition,
    context: Context,
    terms: tuple[list[_Term[Principal]], list[_Term[Permission]]],
) -> None:
    calling, called = terms
    if (caller := _caller_term(condition, context)) is not None:
        calling.append(caller)
        only_denies = condition.not_values and not condition.values
        if only_denies and condition.key in _NAMING_KEYS and not context.widen:
            calling.append(_PROVED)
    elif (call := _call_term(condition)) is not None:
        called.append(call)
    elif not context.widen:
        raise _UntestableError


def _caller_term(condition: Condition, context: Context) -> _Term[Principal] | None:
    key, values, not_values = condition.key, condition.values, condition.not_values
    if (request := _request_test(key)) is not None:
        return _Term(request, values, not_values, http_only=True)
    domains = context.trust_domains
    if key == "source.principal":
        values, not_values = domains.principals(values), domains.principals(not_values)
    if key == "source.trustDomain":
        values, not_values = domains.domains(values), domains.domains(not_values)
    account = partial(principals.service_account, default_namespace=context.namespace)
    tests: dict[str, principals.Test] = {
        "source.principal": principals.principal,
        "source.trustDomain": principals.trust_domain,
        "source.namespace": principals.namespace,
        "source.serviceAccount": account,
        "source.ip": principals.direct_address,
        "remote.ip": principals.remote_address,
    }
    test = tests.get(key)
    return _Term(test, values, not_values) if test else None


def _request_test(key: str) -> principals.Test | None:
    match key:
        case "request.auth.principal":
            return principals.request_principal
        case "request.auth.audiences":
            return partial(principals.claim, ["aud"])
        case "request.auth.presenter":
            return partial(principals.claim, ["azp"])
    if name := _bracketed(key, "request.headers"):
        return partial(principals.request_header, name)
    if claims := _bracketed(key, "request.auth.claims"):
        return partial(principals.claim, claims.split("]["))
    return None


def _call_term(condition: Condition) -> _Term[Permission] | None:
    match condition.key:
        case "destination.ip":
            test: permissions.Test = permissions.address
        case "destination.port":
            test = permissions.port
        case "connection.sni":
            test = permissions.server_name
        case key if key.startswith("experimental.envoy.filters.") and key.endswith("]"):
            namespace, _, name = key.removeprefix("experimental.")[:-1].partition("[")
            test = partial(permissions.filter_metadata, namespace, name)
        case _:
            return None
    return _Term(test, condition.values, condition.not_values)


def _bracketed(key: str, attribute: str) -> str:
    """Return what stands in the brackets behind `attribute`, or nothing if it is another one."""
    inner = key.removeprefix(attribute)
    enclosed = inner != key and inner.startswith("[") and inner.endswith("]")
    return inner[1:-1] if enclosed else ""


def _every(terms: Sequence[_Term[T]], context: Context, logic: _Logic[T]) -> T:
    tests: list[T] = []
    for term in terms:
        if wanted := _alternatives(term, term.values, context):
            tests.append(logic.one_of(wanted))
        if unwanted := _alternatives(term, term.not_values, context):
            tests.append(logic.negated(logic.one_of(unwanted)))
    return logic.all_of(tests or [logic.anything()])


def _alternatives(term: _Term[T], written: Sequence[str], context: Context) -> list[T]:
    found = [None if term.http_only and context.tcp else term.test(one) for one in written]
    beyond = any(test is not None and not context.testable(test) for test in found)
    if not context.widen and (beyond or any(test is None for test in found)):
        raise _UntestableError
    # Of alternatives that are not all testable those that are would cover less.
    return [] if beyond else [test for test in found if test is not None]
