"""What runs in a process that must be able to stop never waits with `asyncio.wait_for`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _uses(tree: ast.AST) -> Iterator[int]:
    """Yield the lines that use it, imported by whatever name the module has."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="asyncio"), attr="wait_for"):
                yield node.lineno
            case ast.ImportFrom(module="asyncio", names=names) if any(
                one.name == "wait_for" for one in names
            ):
                yield node.lineno


def test_nothing_can_lose_a_cancellation() -> None:
    """Up to Python 3.11 `wait_for` swallows one that comes as it ends: use `asyncio.timeout`."""
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for room in ("libs", "services", "examples")
        for path in sorted((ROOT / room).rglob("*.py"))
        for line in _uses(ast.parse(path.read_text()))
    ]
    assert found == []


def test_the_negative_control_a_use_is_found() -> None:
    sample = "import asyncio\n\nasync def late() -> None:\n    await asyncio.wait_for(work(), 1)\n"
    assert list(_uses(ast.parse(sample))) == [4]
