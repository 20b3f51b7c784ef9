"""Field paths, such as `spec.http[0].headers[x-user].exact`: how they are written and shortened.

While data is walked, a path is a chain of `(parent, segment)` pairs, because most are never shown.
"""

import re

Path = tuple["Path | None", str | int] | None
"""None is the root; a text is the key of a mapping, a number the index of a list."""

MAX_SEGMENT = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def segment(key: str | int) -> str:
    """Return how one step is written: `.key`, or `[key]` where the key is a number or no name."""
    if isinstance(key, int):
        return f"[{key}]"
    if len(key) > MAX_SEGMENT:
        key = key[:MAX_SEGMENT] + "…"
    key = key.encode(errors="replace").decode()  # a path is always text that can be printed
    return f".{key}" if _NAME.fullmatch(key) else f"[{key}]"


def render(path: Path) -> str:
    """Return the text of a path; the root is empty."""
    segments: list[str] = []
    while path is not None:
        path, key = path
        segments.append(segment(key))
    return "".join(reversed(segments)).removeprefix(".")


def join(parent: str, *keys: str | int) -> str:
    """Return the path of a value below `parent`, a path in text form."""
    return (parent + "".join(map(segment, keys))).removeprefix(".")


def parent(path: str) -> str:
    """Return the path of the enclosing mapping or list; the root's is the root."""
    return path[: max(path.rfind("."), path.rfind("["), 0)]
