"""Output: one answer, as a table for people or as JSON for programs.

Tables go through rich, which knows the terminal; JSON is plain text without colour, so that it can
be piped. An error that ends a command goes to standard error, with what to do about it.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NoReturn

from rich import box
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.table import Table

OK, FAILED, MISUSED = 0, 1, 2
_WIDE = 240


class Format(StrEnum):
    """What to print."""

    TABLE = "table"
    JSON = "json"


def print_json(value: object) -> None:
    """Print `value` as indented JSON."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of ready-made cells, which may hold rich's markup."""
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def say(text: str) -> None:
    """Print a line that may hold rich's markup."""
    console().print(text, highlight=False)


def console() -> Console:
    """Return the console of standard output; wide where there is no terminal: nothing is cut."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)


def clean(text: str) -> str:
    """Return text from outside so that it prints as it is: no markup, no control characters."""
    return escape_markup(_printable(text))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def clean_lines(texts: Iterable[str]) -> str:
    """Return texts from outside, one a line."""
    return "\n".join(map(clean, texts))


def note(text: str) -> None:
    """Tell on standard error what is no part of the answer."""
    sys.stderr.write(f"seinectl: {_printable(text)}\n")


def fail(text: str, *, hint: str = "", status: int = MISUSED) -> NoReturn:
    """End the command with an error and, if there is one, what to do about it."""
    sys.stderr.write(f"seinectl: {text}\n")
    for line in hint.splitlines():
        sys.stderr.write(f"  {line}\n")
    sys.exit(status)
