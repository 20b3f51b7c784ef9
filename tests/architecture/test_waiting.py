"""What runs in a process that must be able to stop waits with nothing that loses cancellations.

That is neither `asyncio.wait_for` nor asyncio's own TaskGroup (`libs.runtime.tasks.Group`).
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GROUP = "group = asyncio.TaskGroup()"


def _uses(tree: ast.AST, wrong: str) -> Iterator[int]:
    """Yield the lines that use a part of asyncio; its type alone may be named."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="asyncio"), attr=used)):
                if used == wrong:
                    yield node.lineno
            case ast.ImportFrom(module="asyncio", names=names) if any(
                one.name == wrong for one in names
            ):
                yield node.lineno


def _found(rooms: tuple[str, ...], wrong: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line}"
        for room in rooms
        for path in sorted((ROOT / room).rglob("*.py"))
        for line in _uses(ast.parse(path.read_text()), wrong)
    ]


def test_nobody_waits_with_wait_for() -> None:
    """Up to Python 3.11 it swallows a cancellation that comes as it ends: use `timeout`."""
    assert _found(("libs", "services", "examples"), "wait_for") == []


def test_groups_are_our_own() -> None:
    """Up to Python 3.12 asyncio's swallows one that comes while it waits because of an error."""
    assert _found(("libs", "services"), "TaskGroup") == []


@pytest.mark.parametrize(
    ("wrong", "line"), [("wait_for", "await asyncio.wait_for(work(), 1)"), ("TaskGroup", GROUP)]
)
def test_the_negative_control_a_use_is_found(wrong: str, line: str) -> None:
    sample = f"import asyncio\n\nasync def late() -> None:\n    {line}\n"
    assert list(_uses(ast.parse(sample), wrong)) == [4]
    assert list(_uses(ast.parse(f"from asyncio import {wrong}"), wrong)) == [1]
