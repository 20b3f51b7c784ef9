import pytest

from tests.support.rulings import of_policy, of_rule

CUSTOM = "action: CUSTOM\nprovider: {name: a}\n"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{}", "action: allow", "spec.action InvalidChoice"),
        ("action: DENY\nrules: [{}]", "action: DENY", "spec.rules MissingField"),
        ("action: DENY\nrules: [{}]", "action: DENY\nrules: []", "spec.rules MissingField"),
        (
            f"{CUSTOM}rules: [{{}}]",
            "action: CUSTOM\nrules: [{}]",
            "spec.provider.name MissingField",
        ),
        (f"{CUSTOM}rules: [{{}}]", CUSTOM, "spec.rules MissingField"),
        (f"{CUSTOM}rules: [{{}}]", "provider: {name: a}\nrules: [{}]", "spec.provider Conflicting"),
        (
            f"rules: [{', '.join(['{}'] * 512)}]",
            f"rules: [{', '.join(['{}'] * 513)}]",
            "spec.rules OutOfRange",
        ),
    ],
)
def test_actions(good: str, bad: str, found: str) -> None:
    assert of_policy(good) == []
    (error,) = of_policy(bad)
    assert error.startswith(found)


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "from: [{source: {ipBlocks: [0.0.0.0/0]}}]",
            "from: [{source: {principals: [a]}}]",
            "from[0].source.p",
        ),
        (
            "when: [{key: source.ip, values: [1.2.3.4]}]",
            "when: [{key: source.principal, values: [a]}]",
            "when",
        ),
        (
            "to: [{operation: {ports: ['1']}}]",
            "from: [{source: {notNamespaces: [a]}}]",
            "from[0].source.n",
        ),
        (
            "when: [{key: 'request.headers[a]', values: [a]}]",
            "when: [{key: 'request.auth.claims[a]', values: [a]}]",
            "when[0].key ConflictingFields",
        ),
    ],
)
def test_an_external_authorizer_is_asked_before_the_caller_is_known(
    good: str, bad: str, found: str
) -> None:
    assert of_rule(good, "CUSTOM\nprovider: {name: a}") == []
    (error,) = of_rule(bad, "CUSTOM\nprovider: {name: a}")
    assert error.startswith(found)


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        ("to: [{operation: {methods: [GET]}}]", True),
        ("to: [{operation: {methods: [GET], ports: ['80']}}]", False),
        ("from: [{source: {requestPrincipals: [a]}}]", True),
        ("from: [{source: {principals: [a]}}]", False),
        ("from: [{source: {principals: [a]}}]\nto: [{operation: {paths: [/a]}}]", True),
        ("from: [{source: {requestPrincipals: [a]}}]\nto: [{operation: {ports: ['80']}}]", False),
        ("{}", False),
    ],
)
def test_a_denial_by_http_alone_denies_all_of_tcp(rule: str, warned: bool) -> None:
    assert of_rule(rule, "DENY") == (["warning spec.rules[0] DeniesTcp"] if warned else [])
    assert of_rule(rule, "ALLOW") == []
