import sys
import time

import pytest

from tests.support.rulings import of_virtual_service

TO = "route: [{destination: {host: a}}]"


def of_matches(*matches: str) -> list[str]:
    routes = "\n".join(
        f"- {{match: [{match}], {TO}}}" if match else f"- {{{TO}}}" for match in matches
    )
    return [
        line.replace("warning spec.http", "")
        for line in of_virtual_service(f"hosts: [a]\nhttp:\n{routes}")
    ]


@pytest.mark.parametrize(
    ("matches", "found"),
    [
        (["{uri: {exact: /a}}", ""], []),
        (["", "{uri: {exact: /a}}"], ["[1] UnreachableRule"]),
        (["", ""], ["[1] UnreachableRule"]),
        (["{uri: {exact: /a}}", "{uri: {exact: /b}}"], []),
        (
            ["{uri: {exact: /a}}", "{uri: {exact: /a}}"],
            ["[1].match[0] IneffectiveMatch", "[1] UnreachableRule"],
        ),
        (["{name: x, uri: {exact: /a}}", "{name: z, port: 1}, {port: 1}"], ["[1].match[1] Ineff"]),
        (["{uri: {prefix: /a}}", "{uri: {prefix: /ab}}"], ["[1].match[0] IneffectiveMatch"]),
        (["{uri: {prefix: /ab}}", "{uri: {prefix: /a}}"], []),
        (["{uri: {prefix: /a}, port: 1}", "{uri: {prefix: /ab}}"], []),
        (
            ["{uri: {prefix: /a}}", "{uri: {prefix: /ab}, headers: {x: {exact: v}}}"],
            ["[1].match[0] IneffectiveMatch"],
        ),
        (["{uri: {prefix: /a}, headers: {x: {exact: v}}}", "{uri: {prefix: /ab}}"], []),
        (
            [
                "{uri: {prefix: /a}, headers: {x: {prefix: v}}}",
                "{uri: {prefix: /ab}, headers: {x: {exact: vw}}}",
            ],
            ["[1].match[0] IneffectiveMatch"],
        ),
        (
            [
                "{uri: {prefix: /a}, headers: {x: {exact: vw}}}",
                "{uri: {prefix: /ab}, headers: {x: {prefix: v}}}",
            ],
            [],
        ),
        (
            [
                "{uri: {prefix: /a}, headers: {x: {regex: y+}}}",
                "{uri: {prefix: /ab}, headers: {x: {regex: z+}}}",
            ],
            [],
        ),
        (["{uri: {prefix: /a}, ignoreUriCase: true}", "{uri: {prefix: /ab}}"], []),
    ],
)
def test_what_is_never_used(matches: list[str], found: list[str]) -> None:
    lines = of_matches(*matches)
    assert len(lines) == len(found)
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True))


def test_connections_too() -> None:
    tcp = f"hosts: [a]\ntcp: [{{{TO}}}, {{match: [{{port: 1}}], {TO}}}]"
    assert of_virtual_service(tcp) == ["warning spec.tcp[1] UnreachableRule"]


def test_the_first_of_several_earlier_prefixes_is_named_however_many_there_are() -> None:
    many = [f"{{uri: {{prefix: /{n}/}}}}" for n in range(1000)]
    later = ["{uri: {prefix: /999/a}}", "{uri: {prefix: /999/a/b}}"]
    found = of_matches(*many, *later)
    assert found == [f"[{at}].match[0] IneffectiveMatch" for at in (1000, 1001)]


def test_so_many_that_it_would_take_too_long_are_not_compared() -> None:
    def many(prefix: str, value: str) -> str:
        one = f"{{uri: {{prefix: {prefix}}}, headers: {{x: {{exact: {value}N}}}}}}"
        return ", ".join(one.replace("N", str(number)) for number in range(400))

    same, later = many("/a", "v"), many("/ab", "w")
    unseen = "{uri: {prefix: /ab}, headers: {x: {exact: v1}}}"
    assert of_matches(same, later, unseen) == []
    assert of_matches(same, unseen) == ["[1].match[0] IneffectiveMatch"]


def test_a_thousand_prefixes_are_compared_in_time() -> None:
    start = time.process_time()
    matches = [f"{{uri: {{prefix: /{n}/}}}}" for n in range(1000)]
    assert of_matches(*matches) == []
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.0f} ms\n")
