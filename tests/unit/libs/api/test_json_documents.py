"""JSON as an API server, or somebody who pretends to be one, sends it."""

import pytest

from libs.api import json_documents


def _nested(depth: int) -> bytes:
    return f'{{"spec": {"[" * depth}{"]" * depth}}}'.encode()


def test_an_object_is_read() -> None:
    assert json_documents.read(b'{"kind": "Pod", "spec": {"a": [1, null]}}') == (
        {"kind": "Pod", "spec": {"a": [1, None]}},
        [],
    )
    assert json_documents.read(_nested(63))[1] == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "NotAnObject"),
        (b"null", "NotAnObject"),
        (b"[]", "NotAnObject"),
        (b'"text"', "NotAnObject"),
        (b"{", "NotAnObject"),
        (b'{"a": "\xff"}', "NotAnObject"),
        (b'{"a": NaN}', "NotAnObject"),
        (_nested(64), "TooDeep"),
        (_nested(100_000), "TooDeep"),
        (b'{"a": [%s]}' % b",".join([b"1"] * 200_001), "TooLarge"),
        (b'{"a": "%s"}' % (b"x" * 3 * 1024 * 1024), "TooLarge"),
    ],
)
def test_anything_else_is_a_problem(body: bytes, reason: str) -> None:
    raw, problems = json_documents.read(body)
    assert raw is None
    assert [problem.reason for problem in problems] == [reason]
