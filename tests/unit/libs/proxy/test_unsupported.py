from libs.model.security import AccessRule, Action, Condition, Operation, Source
from libs.proxy.unsupported import unsupported
from tests.support import mesh as rows


def test_external_authorizers_are_named() -> None:
    policy = rows.access_policy("p", action=Action.CUSTOM, rules=(AccessRule(),))
    assert [path for path, _ in unsupported(policy)] == ["spec.action"]


def test_all_else_is_done() -> None:
    rule = AccessRule(
        sources=(Source(namespaces=("a",), ip_blocks=("10.0.0.0/8",)),),
        operations=(Operation(paths=("/x",), ports=(80,)),),
        conditions=(Condition(key="request.auth.claims[x]", values=("y",)),),
    )
    for action in (Action.ALLOW, Action.DENY, Action.AUDIT):
        assert unsupported(rows.access_policy("p", action=action, rules=(rule,))) == []
