"""Patch: the difference between two pieces of JSON data, as a JSON Patch (RFC 6902).

It is short where pods change: mappings are compared key by key, and a list into which entries were
put, or from which some were taken, gets one operation for each of them. Entries of lists are known
by their names, if they have any.
"""

from collections.abc import Mapping
from typing import Any

Operation = dict[str, Any]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Operation]:
    """Return the operations that make `after` of `before`, in order; none if they are equal."""
    found: list[Operation] = []
    _mappings("", before, after, into=found)
    return found


def _pointer(path: str, key: str) -> str:
    if "~" in key or "/" in key:
        key = key.replace("~", "~0").replace("/", "~1")
    return f"{path}/{key}"


def _mappings(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any], *, into: list[Operation]
) -> None:
    gone = (key for key in before if key not in after)
    into.extend({"op": "remove", "path": _pointer(path, key)} for key in gone)
    for key, value in after.items():
        if key not in before:
            into.append({"op": "add", "path": _pointer(path, key), "value": value})
        elif before[key] is not value:
            _values(_pointer(path, key), before[key], value, into=into)


def _values(path: str, before: Any, after: Any, *, into: list[Operation]) -> None:  # noqa: ANN401 - JSON
    if isinstance(before, dict) and isinstance(after, dict):
        _mappings(path, before, after, into=into)
    elif isinstance(before, list) and isinstance(after, list):
        _lists(path, before, after, into=into)
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        into.append({"op": "replace", "path": path, "value": after})


def _lists(path: str, before: list[Any], after: list[Any], *, into: list[Operation]) -> None:
    old, new = [_name(one) for one in before], [_name(one) for one in after]
    known, wanted = set(old), set(new)
    ordered = [name for name in new if name in known] == [name for name in old if name in wanted]
    if not ordered or len(known) < len(old) or len(wanted) < len(new):
        if repr(before) != repr(after):  # unlike 1 and True, these are never equal by mistake
            into.append({"op": "replace", "path": path, "value": after})
        return
    gone = (at for at in reversed(range(len(old))) if old[at] not in wanted)
    into.extend({"op": "remove", "path": f"{path}/{at}"} for at in gone)
    entries = dict(zip(old, before, strict=True))
    for at, (name, entry) in enumerate(zip(new, after, strict=True)):
        if name not in entries:
            into.append({"op": "add", "path": f"{path}/{at}", "value": entry})
        elif entries[name] is not entry:
            _values(f"{path}/{at}", entries[name], entry, into=into)


def _name(entry: object) -> object:
    """By what an entry is known; an entry without a name is known by all of itself."""
    if isinstance(entry, dict):
        name = entry.get("name")
        return ("name", name) if isinstance(name, str) else ("data", repr(entry))
    return (type(entry).__name__, repr(entry))
