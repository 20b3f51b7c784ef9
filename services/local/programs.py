"""Programs: the environment that every child starts from, and where our own code is.

Children do not inherit the user's environment: a proxy variable or a stray SEINE_* setting in a
shell must not change what the mesh does.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""Where `libs`, `services` and `examples` are: children find them there."""

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PYTHONDONTWRITEBYTECODE")


def environment(**variables: str) -> Mapping[str, str]:
    """Return a child's environment: the little that it needs of ours, then `variables`."""
    ours = os.environ  # noqa: TID251 - handed down, not read
    inherited = {name: ours[name] for name in _INHERITED if name in ours}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **variables}


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module with this interpreter."""
    return (sys.executable, "-m", module, *arguments)
