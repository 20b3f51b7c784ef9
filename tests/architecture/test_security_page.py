"""docs/security.md names tests that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def named(text: str) -> list[tuple[str, str]]:
    return _NAMED.findall(text)


def missing(text: str) -> list[str]:
    """Return what a text names that is not there."""
    found = []
    for file, function in named(text):
        path = ROOT / file
        written = path.read_text() if path.is_file() else ""
        if not written or (function and f"def {function}(" not in written):
            found.append(f"{file}::{function}" if function else file)
    return found


def test_every_test_that_is_named_is_there() -> None:
    text = PAGE.read_text()
    assert len(named(text)) > 30
    assert missing(text) == []


@pytest.mark.parametrize("name", ["tests/unit/test_gone.py", "tests/conftest.py::test_gone"])
def test_one_that_is_gone_is_noticed(name: str) -> None:
    assert missing(f"`{name}`") == [name]
