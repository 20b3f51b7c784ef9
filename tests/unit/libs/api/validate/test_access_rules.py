import pytest

from tests.support.rulings import of_rule


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{}", "from: []", "from EmptyValue"),
        ("{}", "to: []", "to EmptyValue"),
        ("from: [{source: {principals: [a]}}]", "from: [{}]", "from[0].source EmptyValue"),
        (
            "from: [{source: {principals: [a]}}]",
            "from: [{source: {}}]",
            "from[0].source EmptyValue",
        ),
        (
            "from: [{source: {principals: ['*']}}]",
            "from: [{source: {principals: ['']}}]",
            "from[0].source.principals[0] EmptyValue",
        ),
        (
            "from: [{source: {serviceAccounts: [a]}}, {source: {namespaces: [a]}}]",
            "from: [{source: {serviceAccounts: [a], namespaces: [a]}}]",
            "from[0].source.serviceAccounts ConflictingFields",
        ),
        (
            "from: [{source: {notServiceAccounts: [a/b]}}]",
            "from: [{source: {notServiceAccounts: [a/b/c]}}]",
            "from[0].source.notServiceAccounts[0] InvalidValue",
        ),
        (
            f"from: [{{source: {{serviceAccounts: [{', '.join(['a'] * 16)}]}}}}]",
            f"from: [{{source: {{serviceAccounts: [{', '.join(['a'] * 17)}]}}}}]",
            "from[0].source.serviceAccounts OutOfRange",
        ),
        (
            "from: [{source: {trustDomains: ['*.b']}}]",
            "from: [{source: {trustDomains: [a/b]}}]",
            "from[0].source.trustDomains[0] InvalidValue",
        ),
        (
            "from: [{source: {notRemoteIpBlocks: [1.2.3.4]}}]",
            "from: [{source: {notRemoteIpBlocks: [1.2.3.4/33]}}]",
            "from[0].source.notRemoteIpBlocks[0] InvalidValue",
        ),
        (
            "to: [{operation: {ports: ['80']}}]",
            "to: [{operation: {}}]",
            "to[0].operation EmptyValue",
        ),
        ("to: [{operation: {ports: ['80']}}]", "to: [{}]", "to[0].operation EmptyValue"),
        (
            "to: [{operation: {ports: ['0']}}]",
            "to: [{operation: {ports: [http]}}]",
            "to[0].operation.por",
        ),
        (
            "to: [{operation: {paths: ['/{*}']}}]",
            "to: [{operation: {paths: ['/{a}']}}]",
            "to[0].operation.",
        ),
        (
            "to: [{operation: {hosts: [a]}}]",
            "to: [{operation: {hosts: ['']}}]",
            "to[0].operation.hosts[0]",
        ),
    ],
)
def test_rules(good: str, bad: str, found: str) -> None:
    assert of_rule(good) == []
    (error,) = of_rule(bad)
    assert error.startswith(found)
