import pytest

from tests.support.rulings import of_action, of_route

BODY = "directResponse: {status: 200, body: {string: %s}}"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{uri: /}", "{}", " MissingField"),
        ("{port: 80}", "{port: 65536}", ".port InvalidPort"),
        (
            "{derivePort: FROM_REQUEST_PORT}",
            "{port: 80, derivePort: FROM_REQUEST_PORT}",
            " Conflicting",
        ),
        ("{prefixRewrite: /}", "{prefixRewrite: /, uri: /}", " ConflictingFields"),
        ("{scheme: https}", "{scheme: ftp}", ".scheme InvalidChoice"),
        ("{uri: /a}", '{uri: "/a\\nb"}', ".uri InvalidValue"),
        ("{prefixRewrite: /a}", '{prefixRewrite: "/a\\rb"}', ".prefixRewrite InvalidValue"),
        ("{authority: a}", '{authority: "a\\0b"}', ".authority InvalidValue"),
        (
            "{authority: a, redirectCode: 308}",
            "{authority: a, redirectCode: 200}",
            ".redirectCode Inv",
        ),
    ],
)
def test_redirects(good: str, bad: str, found: str) -> None:
    assert of_action(f"redirect: {good}") == []
    (error,) = of_action(f"redirect: {bad}")
    assert error.startswith(f"redirect{found}")


def test_a_prefix_is_rewritten_where_one_was_matched() -> None:
    redirect = "redirect: {prefixRewrite: /}\nmatch: [{uri: {%s: /a}}, {}]"
    assert of_action(redirect % "prefix") == []
    assert of_action(redirect % "exact") == ["redirect.prefixRewrite ConflictingFields"]


def test_a_redirect_that_envoy_does_not_know_does_nothing() -> None:
    found = of_action("redirect: {uri: /, redirectCode: 304}")
    assert found == ["warning redirect.redirectCode NoEffect"]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{status: 200}", "{status: 199}", ".status InvalidStatus"),
        ("{status: 599}", "{status: 600}", ".status InvalidStatus"),
        (
            "{status: 200, body: {}}",
            "{status: 200, body: {string: a, bytes: eA==}}",
            ".body Conflict",
        ),
        ("{status: 200}", "{}", ".status MissingField"),
    ],
)
def test_direct_responses(good: str, bad: str, found: str) -> None:
    assert of_action(f"directResponse: {good}") == []
    (error,) = of_action(f"directResponse: {bad}")
    assert error.startswith(f"directResponse{found}")


def test_bodies_have_a_limit() -> None:
    assert of_action(BODY % ("x" * 100 * 1024)) == []
    assert of_action(BODY % ("x" * (100 * 1024 + 1))) == ["warning directResponse.body LargeBody"]
    # More than a document can hold comes from the API server only.
    assert of_action(BODY % ("x" * 1024 * 1024)) == [" TooLarge"]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{uri: /}", "{}", " MissingField"),
        ("{uri: /}", "{uri: /, uriRegexRewrite: {match: a, rewrite: b}}", " ConflictingFields"),
        (
            "{uriRegexRewrite: {match: a, rewrite: b}}",
            "{uriRegexRewrite: {match: a}}",
            ".uriRegexRewri",
        ),
        (
            "{uriRegexRewrite: {match: a, rewrite: b}}",
            "{uriRegexRewrite: {match: '(', rewrite: b}}",
            ".uriRegexRewrite.match InvalidRegex",
        ),
    ],
)
def test_rewrites(good: str, bad: str, found: str) -> None:
    assert of_route(f"rewrite: {good}") == []
    (error,) = of_route(f"rewrite: {bad}")
    assert error.startswith(f"rewrite{found}")


def test_the_authority_is_set_at_one_place() -> None:
    assert of_route("rewrite: {authority: a}\nheaders: {request: {set: {x: z}}}") == []
    found = of_route("rewrite: {authority: a}\nheaders: {request: {set: {Host: b}}}")
    assert found == ["headers.request.set.Host ConflictingFields"]
    found = of_route("headers: {request: {set: {Host: b}, add: {':authority': b}}}")
    assert found == ["headers.request.add[:authority] ConflictingFields"]
