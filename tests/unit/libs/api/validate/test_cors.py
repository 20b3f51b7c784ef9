import pytest

from tests.support.rulings import of_route


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("allowOrigins: [{exact: a}]", "allowOrigins: [{}]", "allowOrigins[0] EmptyValue"),
        (
            "allowOrigins: [{prefix: a}]",
            "allowOrigins: [{prefix: ''}]",
            "allowOrigins[0] EmptyValue",
        ),
        (
            "allowOrigins: [{regex: a}]",
            "allowOrigins: [{regex: '('}]",
            "allowOrigins[0].regex Invalid",
        ),
        ("allowMethods: [GET, '*']", "allowMethods: [get]", "allowMethods[0] InvalidMethod"),
        ("allowHeaders: [x-a, '*']", "allowHeaders: ['x a']", "allowHeaders[0] InvalidHeader"),
        ("exposeHeaders: [x-a]", "exposeHeaders: ['']", "exposeHeaders[0] InvalidHeader"),
        ("maxAge: 1m", "maxAge: 1.5s", "maxAge InvalidDuration"),
        ("maxAge: 1s", "maxAge: 0s", "maxAge InvalidDuration"),
    ],
)
def test_cors(good: str, bad: str, found: str) -> None:
    assert of_route(f"corsPolicy: {{{good}}}") == []
    (error,) = of_route(f"corsPolicy: {{{bad}}}")
    assert error.startswith(f"corsPolicy.{found}")


def test_the_old_form_still_works() -> None:
    found = of_route("corsPolicy: {allowOrigin: [a]}")
    assert found == ["warning corsPolicy.allowOrigin Deprecated"]
