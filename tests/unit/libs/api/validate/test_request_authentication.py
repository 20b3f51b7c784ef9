import pytest

from tests.support.rulings import manifest, ruling


def of_rule(fields: str) -> list[str]:
    found = ruling(manifest("RequestAuthentication", f"jwtRules: [{{{fields}}}]"))
    return [line.replace("spec.jwtRules[0].", "") for line in found]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("issuer: a", "jwks: '{\"keys\":[]}'", "spec.jwtRules[0] MissingField"),
        ("jwksUri: https://a/b", "issuer: ''", "issuer OutOfRange"),
        ("issuer: a, jwksUri: http://a", "issuer: a, jwksUri: file:///a", "jwksUri InvalidUrl"),
        (
            "issuer: a, jwksUri: http://a",
            "issuer: a, jwksUri: http://a, jwks: '{\"keys\":[]}'",
            "spec.jwtRules[0] ConflictingFields",
        ),
        ("issuer: a, audiences: [b]", "issuer: a, audiences: ['']", "audiences[0] OutOfRange"),
        ("issuer: a, fromParams: [b]", "issuer: a, fromParams: ['']", "fromParams[0] OutOf"),
        ("issuer: a, fromCookies: [b]", "issuer: a, fromCookies: ['']", "fromCookies[0] OutOf"),
        ("issuer: a, timeout: 1ms", "issuer: a, timeout: 0s", "timeout InvalidDuration"),
        (
            "issuer: a, fromHeaders: [{name: x-a, prefix: 'Bearer '}]",
            "issuer: a, fromHeaders: [{name: ''}]",
            "fromHeaders[0].name OutOfRange",
        ),
        (
            "issuer: a, fromHeaders: [{name: x-a}]",
            "issuer: a, fromHeaders: [{name: x a}]",
            "warning fromHeaders[0].name InvalidHeader",
        ),
        (
            "issuer: a, outputPayloadToHeader: x-a",
            "issuer: a, outputPayloadToHeader: x a",
            "warning outputPayloadToHeader InvalidHeader",
        ),
        (
            "issuer: a, outputClaimToHeaders: [{header: x-a, claim: b}]",
            "issuer: a, outputClaimToHeaders: [{header: x.a, claim: b}]",
            "outputClaimToHeaders[0].header InvalidHeader",
        ),
        (
            "issuer: a, fromHeaders: [{name: x-a, prefix: 'a b'}]",
            'issuer: a, fromHeaders: [{name: x-a, prefix: "a\\nb"}]',
            "fromHeaders[0].prefix InvalidHeader",
        ),
        ("issuer: a, presence: REQUIRED", "issuer: a, presence: ALWAYS", "presence Invalid"),
    ],
)
def test_rules(good: str, bad: str, found: str) -> None:
    assert of_rule(good) == []
    (said,) = of_rule(bad)
    assert said.startswith(found)


def test_names_of_headers_with_line_breaks_are_refused() -> None:
    for fields in (r'fromHeaders: [{name: "a\nb"}]', r'outputPayloadToHeader: "a\nb"'):
        (error, _) = of_rule(f"issuer: a, {fields}")
        assert not error.startswith("warning")


def test_selectors_and_targets() -> None:
    both = "selector: {matchLabels: {a: b}}\ntargetRef: {kind: Service, name: a}"
    assert ruling(manifest("RequestAuthentication", both)) == ["spec ConflictingFields"]
    wrong = "targetRefs: [{kind: Pod, name: a}]"
    found = ruling(manifest("RequestAuthentication", wrong))
    assert found == ["spec.targetRefs[0].kind InvalidTarget"]
