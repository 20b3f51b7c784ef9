import json

import pytest

from libs.api.validate.headers import is_claim, is_name
from tests.support.rulings import of_action, of_route


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("request: {set: {x-a: b}}", "request: {set: {'': b}}"),
        ("request: {set: {':authority': b}}", "request: {set: {':path': b}}"),
        ("request: {add: {Host: b}}", "response: {add: {Host: b}}"),
        ("request: {remove: [x-a]}", "request: {remove: [Host]}"),
        ("request: {remove: [x-a]}", "request: {remove: [':authority']}"),
        ("response: {remove: [x-a]}", "response: {remove: ['']}"),
        ("request: {set: {x a: b}}", 'request: {set: {"x\\na": b}}'),
        ("response: {remove: [x-a]}", 'response: {remove: ["x\\0a"]}'),
        ("response: {set: {x-a: '100%%'}}", "response: {set: {x-a: '100%'}}"),
        ("response: {set: {x-a: '%HOSTNAME%'}}", "response: {set: {x-a: '%HOSTNAME'}}"),
        ('response: {set: {x-a: "a\\tb"}}', 'response: {set: {x-a: "a\\nb"}}'),
    ],
)
def test_changes(good: str, bad: str) -> None:
    assert of_route(f"headers: {{{good}}}") == []
    (error,) = of_route(f"headers: {{{bad}}}")
    assert error.startswith("headers.re")
    assert error.endswith(" InvalidHeader")


def test_destinations_change_headers_too() -> None:
    route = "route: [{destination: {host: a}, headers: {request: {remove: [%s]}}}]"
    assert of_action(route % "x-a") == []
    assert of_action(route % "host") == ["route[0].headers.request.remove[0] InvalidHeader"]


@pytest.mark.parametrize(
    ("good", "bad"), [("x-a", "x a"), (":path", ":foo"), ("!#$%&'*+-.^_`|~1", "é"), ("x", "")]
)
def test_names_in_matches(good: str, bad: str) -> None:
    match = "match: [{headers: {%s: {exact: a}}}]"
    assert of_route(match % json.dumps(good)) == []
    (error,) = of_route(match % json.dumps(bad))
    assert error.endswith(" InvalidHeader")


def test_names() -> None:
    assert is_name("x-Request_ID")
    assert not is_name("")


@pytest.mark.parametrize(
    ("name", "claim"),
    [
        ("@request.auth.claims.sub", True),
        ("@Request.Auth.Claims[a][b]", True),
        ("@request.auth.claims", False),
        ("@request.auth.claims.", False),
        ("@request.auth.claims[]", False),
        ("x-a", False),
    ],
)
def test_claims(name: str, claim: bool) -> None:
    assert is_claim(name) is claim
