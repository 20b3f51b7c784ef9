"""Verdicts of the sample's own manifests, and of what is not judged."""

import pytest

from libs.model.ids import Ref, WorkloadKey
from libs.model.mesh import Key, Mesh, Table
from libs.model.security import (
    AccessPolicy,
    AccessRule,
    Action,
    Condition,
    MtlsMode,
    Operation,
    PeerPolicy,
    Source,
)
from libs.model.workload import Workload
from services.local.verdict import Call, Fate, Verdict, judge

PREFIX = "spiffe://cluster.local/ns/shop/sa"


def _workload(name: str, *, sidecar: bool = True) -> Workload:
    return Workload(
        key=WorkloadKey(f"shop/{name}"),
        ref=Ref(f"Pod/shop/{name}"),
        name=name,
        namespace="shop",
        labels={"app": name},
        service_account=name,
        mtls=sidecar,
    )


def _mesh(*policies: AccessPolicy | PeerPolicy) -> Mesh:
    tables = {AccessPolicy: Table.ACCESS_POLICY, PeerPolicy: Table.PEER_POLICY}
    return Mesh().evolve([(Key(tables[type(one)], one.ref), one) for one in policies])


def _strict() -> PeerPolicy:
    return PeerPolicy(
        ref=Ref("PeerAuthentication/shop/default"),
        namespace="shop",
        name="default",
        mode=MtlsMode.STRICT,
    )


def _policy(action: Action, *rules: AccessRule, name: str = "policy") -> AccessPolicy:
    return AccessPolicy(
        ref=Ref(f"AuthorizationPolicy/shop/{name}"),
        namespace="shop",
        name=name,
        action=action,
        rules=rules,
    )


def _call(caller: Workload, method: str = "GET", path: str = "/x", *, port: int = 9080) -> Call:
    return Call(
        caller=caller,
        callee=_workload("reviews"),
        port=port,
        method=method,
        path=path,
    )


def _from(*principals: str) -> AccessRule:
    return AccessRule(sources=(Source(principals=principals),))


def test_without_policies_a_call_is_allowed_and_its_caller_proved() -> None:
    assert judge(_mesh(), _call(_workload("web"))) == Verdict(
        Fate.ALLOWED, identity=f"{PREFIX}/web"
    )


def test_plain_text_is_refused_only_under_strict() -> None:
    legacy = _call(_workload("legacy", sidecar=False))
    assert judge(_mesh(), legacy) == Verdict(Fate.ALLOWED)
    open_ref = Ref("PeerAuthentication/shop/open")
    permissive = PeerPolicy(ref=open_ref, namespace="shop", name="open", mode=MtlsMode.PERMISSIVE)
    assert judge(_mesh(permissive), legacy) == Verdict(Fate.ALLOWED, (open_ref,))
    assert judge(_mesh(_strict()), legacy) == Verdict(
        Fate.REFUSED, (Ref("PeerAuthentication/shop/default"),)
    )


def test_a_deny_rule_is_named() -> None:
    rule = AccessRule(operations=(Operation(methods=("DELETE",)),))
    mesh = _mesh(_policy(Action.DENY, _from("nobody"), rule))
    denied = judge(mesh, _call(_workload("web"), "DELETE"))
    assert denied.fate is Fate.DENIED
    assert denied.rule == "ns[shop]-policy[policy]-rule[1]"
    assert judge(mesh, _call(_workload("web"))).fate is Fate.ALLOWED


def test_what_no_rule_allows_is_denied_by_no_rule() -> None:
    mesh = _mesh(_policy(Action.ALLOW, _from("cluster.local/ns/shop/sa/web")))
    allowed = judge(mesh, _call(_workload("web")))
    assert allowed.fate is Fate.ALLOWED
    assert allowed.policies == (Ref("AuthorizationPolicy/shop/policy"),)
    other = judge(mesh, _call(_workload("other")))
    assert (other.fate, other.rule) == (Fate.DENIED, "")
    assert other.policies == (Ref("AuthorizationPolicy/shop/policy"),)


@pytest.mark.parametrize(
    ("pattern", "fate"),
    [
        ("*", Fate.ALLOWED),
        ("cluster.local/ns/shop/*", Fate.ALLOWED),
        ("*/sa/web", Fate.ALLOWED),
        ("cluster.local/ns/shop/sa/we", Fate.DENIED),
    ],
)
def test_patterns(pattern: str, fate: Fate) -> None:
    mesh = _mesh(_policy(Action.ALLOW, _from(pattern)))
    assert judge(mesh, _call(_workload("web"))).fate is fate


def test_on_tcp_an_allow_rule_about_paths_allows_nothing() -> None:
    rule = AccessRule(operations=(Operation(paths=("/x",), ports=(7000,)),))
    tcp = _call(_workload("web"), "", "", port=7000)
    assert judge(_mesh(_policy(Action.ALLOW, rule)), tcp).fate is Fate.DENIED
    assert judge(_mesh(_policy(Action.DENY, rule)), tcp).fate is Fate.DENIED


def test_what_is_not_covered_is_not_judged() -> None:
    rule = AccessRule(conditions=(Condition(key="source.ip", values=("10.0.0.1",)),))
    assert judge(_mesh(_policy(Action.DENY, rule)), _call(_workload("web"))).fate is Fate.UNKNOWN
    hosts = AccessRule(operations=(Operation(hosts=("x",)),))
    assert judge(_mesh(_policy(Action.DENY, hosts)), _call(_workload("web"))).fate is Fate.UNKNOWN
    assert judge(_mesh(_policy(Action.CUSTOM)), _call(_workload("web"))).fate is Fate.UNKNOWN
