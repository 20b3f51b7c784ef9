import pytest

from tests.support.rulings import of_rule


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "key: source.ip, values: [1.2.3.4]",
            "key: source.ip, values: [a]",
            "values[0] InvalidValue",
        ),
        (
            "key: source.ip, notValues: [1.2.3.4]",
            "key: source.ip, notValues: ['']",
            "notValues[0] EmptyVal",
        ),
        ("key: source.ip, values: [1.2.3.4]", "key: source.ip", " MissingField"),
        ("key: source.ip, values: [1.2.3.4]", "key: '', values: [a]", "key EmptyValue"),
        ("key: source.ip, values: [1.2.3.4]", "values: [a]", "key MissingField"),
        (
            "key: destination.port, values: ['1']",
            "key: destination.port, values: [a]",
            "values[0] Inval",
        ),
        (
            "key: 'request.headers[a]', values: [a]",
            "key: request.headers, values: [a]",
            "key UnknownAttr",
        ),
        (
            "key: 'request.headers[a]', values: [a]",
            "key: 'request.headers[]', values: [a]",
            "key Unknown",
        ),
        (
            "key: 'request.auth.claims[a][b]', values: [a]",
            "key: request.auth.x, values: [a]",
            "key Unkn",
        ),
        (
            "key: connection.sni, values: [a]",
            "key: connection.sin, values: [a]",
            "key UnknownAttribute",
        ),
        (
            "key: source.principal, values: [a]",
            "key: destination.user, values: [a]",
            "key UnknownAttrib",
        ),
        (
            "key: source.serviceAccount, values: [a/b]",
            "key: source.serviceAccount, values: ['*']",
            "values[0] InvalidValue",
        ),
        (
            "key: source.trustDomain, values: ['*.b']",
            "key: source.trustDomain, values: [a*b]",
            "values[0] InvalidValue",
        ),
        (
            "key: 'experimental.envoy.filters.a[b]', values: [a]",
            "key: experimental.envoy.filters.a, values: [a]",
            "key UnknownAttribute",
        ),
    ],
)
def test_conditions(good: str, bad: str, found: str) -> None:
    assert of_rule(f"when: [{{{good}}}]") == []
    (error,) = of_rule(f"when: [{{{bad}}}]")
    assert error.replace("when[0]", "").lstrip(".").startswith(found)
