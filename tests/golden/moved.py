"""What comes of policies of DestinationRules at ports and at subsets, to be read: moved.yaml.

No case says all of a traffic policy again at every place where it may stand. Where a field is
proved by a case whose policy was moved there (`tests.golden.moves`), nobody has seen an `out.yaml`
of it; so what differs when the field is another, or gone, is written down for every such field. Of
the values that make a difference the one is taken that makes the smallest.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

import yaml

from tests.golden.cases import Dumper, as_read
from tests.golden.proofs import Difference, Proof, proofs

FILE = Path(__file__).parent / "moved.yaml"
_HEADER = "# Written by `make golden`. Read the difference before committing it.\n"
_LINES = 4
"""Of one difference that are written; the number of the others is."""
_VALUES = 12
"""Of one field that are tried."""


def text() -> str:
    """Return what `moved.yaml` should hold: by kind and field the case and what differs there."""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for (kind, path), proof in sorted(proofs().items()):
        if proof.moved:
            found[kind][path] = _entry(proof)
    return _HEADER + yaml.dump(dict(found), Dumper=Dumper, sort_keys=False, width=160)


def _entry(proof: Proof) -> dict[str, Any]:
    every = islice(proof.bench.differences(proof.number, proof.spot), _VALUES)
    smallest = min((_lines(one) for one in every), key=lambda one: sum(map(len, one.values())))
    proxy, name = next(iter(smallest))
    lines = smallest[proxy, name]
    more = sum(map(len, smallest.values())) - len(lines[:_LINES])
    return {
        "case": proof.case,
        "at": f"{proxy} {name}",
        "differs": lines[:_LINES],
        **({"and": f"{more} more"} if more else {}),
    }


def _lines(difference: Difference) -> Mapping[tuple[str, str], list[str]]:
    found = {}
    for (proxy, type_url, name), bodies in difference.items():
        before, after = (dict(_flat(type_url, body)) for body in bodies)
        keys = [key for key in chain(before, after) if before.get(key) != after.get(key)]
        lines = [f"{key}: {_said(before, key)} -> {_said(after, key)}" for key in _once(keys)]
        found[proxy, name] = lines or ["bytes that JSON does not show"]
    return found


def _once(keys: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(keys))


def _said(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "nothing"


def _flat(type_url: str, body: bytes | None) -> Iterator[tuple[str, Any]]:
    """Yield the values of a resource, by their paths."""
    if body is not None:
        yield from _below("", as_read(type_url, body))


def _below(path: str, value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _below(f"{path}.{key}" if path else key, inner)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from _below(f"{path}[{number}]", inner)
    else:
        yield path, value
