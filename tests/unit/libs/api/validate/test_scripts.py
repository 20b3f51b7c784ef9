"""Scripts of Lua: what compiles, what does not, and where they stand."""

from typing import Any

import pytest

from libs.api.report import Report
from libs.api.validate import scripts
from libs.model.ids import ref
from tests.support.lua_scripts import RIGHT, WRONG


@pytest.mark.parametrize("code", RIGHT)
def test_what_envoy_compiles_is_right(code: str) -> None:
    assert scripts.complaint(code) == ""


@pytest.mark.parametrize("code", WRONG)
def test_what_it_does_not_is_wrong(code: str) -> None:
    assert scripts.complaint(code)


def test_the_line_of_a_mistake_is_named() -> None:
    assert scripts.complaint("local a = 1\n\nlocal b = = 2") == "line 3: unexpected symbol near '='"


def test_scripts_are_not_run() -> None:
    assert scripts.complaint("while true do end") == ""
    assert scripts.complaint("error('never')") == ""


def test_bytecode_is_refused_unread() -> None:
    assert "bytecode" in scripts.complaint("\x1bLJ\x02")


@pytest.mark.parametrize("opening", ["(", "{", "if a then ", "function() return ", "a[", "not "])
def test_deep_nesting_is_an_error_like_any_other(opening: str) -> None:
    code = f"x = {opening * (scripts.MAX_BYTES // len(opening) - 1)}"
    assert scripts.complaint(code[: scripts.MAX_SECOND_OPINION])


def test_what_is_too_long_to_be_judged_counts_as_right() -> None:
    assert scripts.complaint("x = = 1") != ""
    assert scripts.complaint("x = = 1" + " " * scripts.MAX_BYTES) == ""


def _in_patch(value: dict[str, Any]) -> list[str]:
    report = Report(ref("EnvoyFilter", "shop", "f"))
    scripts.check_patch(value, (None, "value"), report)
    return [problem.path for problem in report.problems]


LUA = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ({"inline_code": "%s"}, "inline_code"),
        ({"inlineCode": "%s"}, "inlineCode"),
        (
            {"default_source_code": {"inline_string": "%s"}},
            "default_source_code.inline_string",
        ),
        (
            {"sourceCodes": {"a": {"inlineString": "%s"}}},
            "sourceCodes.a.inlineString",
        ),
    ],
)
def test_scripts_are_found_in_patches(config: dict[str, Any], place: str) -> None:
    def filled(part: object, code: str) -> Any:  # noqa: ANN401
        if isinstance(part, dict):
            return {key: filled(value, code) for key, value in part.items()}
        return code

    for code, wrong in (("a()", False), ("a(", True)):
        written = filled(config, code)
        own = {"name": "lua", "typed_config": {"@type": LUA, **written}}
        assert _in_patch(own) == ([f"value.typed_config.{place}"] if wrong else [])
        struct = {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": LUA,
            "value": written,
        }
        nested = {"http_filters": [{"name": "first"}, {"typed_config": struct}]}
        assert _in_patch(nested) == (
            [f"value.http_filters[1].typed_config.value.{place}"] if wrong else []
        )


def test_what_is_no_filter_of_lua_is_not_taken_for_one() -> None:
    assert _in_patch({"typed_config": {"@type": "a/b", "inline_code": "a("}}) == []


def test_of_many_scripts_only_so_much_is_judged() -> None:
    one = {"@type": LUA, "inline_code": "x = 1;" * 3000 + "a("}
    assert len(_in_patch({"filters": [one] * 50})) <= scripts.MAX_BYTES // 18_000
