"""Patch: the difference between two pieces of JSON data, as a JSON Patch (RFC 6902).

It is short where pods change: mappings are compared key by key, and a list into which entries were
put, or from which some were taken, gets one operation for each of them. Entries of lists are known
by their names, if they have any.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Operation = dict[str, Any]


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Operation]:
    """Return the operations that make `after` of `before`, in order; none if they are equal."""
    return list(_mappings("", before, after))


def _pointer(path: str, key: str) -> str:
    return f"{path}/{key.replace('~', '~0').replace('/', '~1')}"


def _mappings(
    path: str, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Operation]:
    for key in before:
        if key not in after:
            yield {"op": "remove", "path": _pointer(path, key)}
    for key, value in after.items():
        place = _pointer(path, key)
        if key not in before:
            yield {"op": "add", "path": place, "value": value}
        else:
            yield from _values(place, before[key], value)


def _values(path: str, before: Any, after: Any) -> Iterator[Operation]:  # noqa: ANN401 - JSON
    if before is after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        yield from _mappings(path, before, after)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _lists(path, before, after)
    elif before != after or isinstance(before, bool) is not isinstance(after, bool):
        yield {"op": "replace", "path": path, "value": after}


def _lists(path: str, before: list[Any], after: list[Any]) -> Iterator[Operation]:
    old, new = [_name(one) for one in before], [_name(one) for one in after]
    known, wanted = set(old), set(new)
    ordered = [name for name in new if name in known] == [name for name in old if name in wanted]
    if not ordered or len(known) < len(old) or len(wanted) < len(new):
        if repr(before) != repr(after):  # unlike 1 and True, these are never equal by mistake
            yield {"op": "replace", "path": path, "value": after}
        return
    for at in reversed(range(len(old))):
        if old[at] not in wanted:
            yield {"op": "remove", "path": f"{path}/{at}"}
    entries = dict(zip(old, before, strict=True))
    for at, (name, entry) in enumerate(zip(new, after, strict=True)):
        if name in entries:
            yield from _values(f"{path}/{at}", entries[name], entry)
        else:
            yield {"op": "add", "path": f"{path}/{at}", "value": entry}


def _name(entry: object) -> object:
    """By what an entry is known; an entry without a name is known by all of itself."""
    if isinstance(entry, Mapping):
        name = entry.get("name")
        return ("name", name) if isinstance(name, str) else ("data", repr(entry))
    return (type(entry).__name__, repr(entry))
