"""Broken objects: for each kind a good document of it, and others in which one thing is wrong.

Good ones are taken from the golden cases. What is wrong is found by trying: a field of another type
than the kind has, a value that decodes and is no good, a choice that the kind does not know.
"""

import copy
from collections.abc import Iterator
from enum import Enum, StrEnum
from functools import cache
from typing import Any

from msgspec.structs import fields

from libs.api.check import check_raw
from libs.api.decode import decode
from libs.api.problem import Problem, Severity
from libs.api.registry import KINDS, Kind, find
from tests.golden import proofs
from tests.golden.mutants import TEXTS, Raw, spots
from tests.tools.field_paths import present

_ODD: tuple[object, ...] = (
    "%% not good %%",
    "",
    -1,
    99999,
    [],
    ["%%"],
    [""],
    {"": "%%"},
    {"*": "*"},
)
_SKIPPED = frozenset({"apiVersion", "kind", "metadata", "status"})


class Fault(StrEnum):
    """What is wrong with an object."""

    DECODE = "decode error"
    VALIDATE = "validation error"
    CHOICE = "unknown choice"
    INSIDE = "decode error inside"


def read_kinds() -> list[Kind]:
    """Return the kinds that the mesh reads."""
    return [kind for kind in KINDS if kind.struct is not None]


@cache
def _samples() -> dict[str, list[Raw]]:
    found: dict[str, list[Raw]] = {}
    for bench in proofs.benches():
        for document in () if bench.moved else bench.documents:
            kind = find(str(document.get("apiVersion")), str(document.get("kind")))
            if isinstance(kind, Kind) and check_raw(document)[0] is not None:
                found.setdefault(f"{kind.group}/{kind.name}", []).append(document)
    return found


def sample(kind: Kind, fault: Fault) -> tuple[Raw, Raw] | None:
    """Return a good document and the same with the fault; None if no such fault can be had."""
    for document in _samples().get(f"{kind.group}/{kind.name}", [_bare(kind)]):
        good = _renamed(document, kind)
        for bad in _FAULTS[fault](kind, good):
            return good, bad
    return None


def faulty(kind: Kind, fault: Fault, good: Raw) -> Raw | None:
    """Return a document of a kind with the fault; None if no such fault can be had there."""
    return next(_FAULTS[fault](kind, good), None)


def _bare(kind: Kind) -> Raw:
    identity = {"apiVersion": kind.api_versions[0], "kind": kind.name}
    return {**identity, "metadata": {"name": "a"}, **_BARE.get(kind.name, {})}


_BARE: dict[str, Raw] = {
    "ProxyConfig": {"spec": {"concurrency": 1, "selector": {"matchLabels": {"app": "web"}}}}
}
"""Of kinds that no golden case has."""


def _renamed(document: Raw, kind: Kind) -> Raw:
    made = copy.deepcopy(document)
    if kind.name != "ConfigMap":  # by its name it is the mesh's
        made["metadata"]["name"] = "sample"
        made["metadata"].setdefault("namespace", "shop")
    if not kind.namespaced:
        made["metadata"].pop("namespace", None)
    return made


def _undecodable(kind: Kind, good: Raw) -> Iterator[Raw]:
    assert kind.struct is not None
    names = {field.encode_name for field in fields(kind.struct)} - _SKIPPED
    for name in sorted(names) or ["metadata"]:
        bad = copy.deepcopy(good)
        if name == "metadata":
            bad[name]["labels"] = 5
        else:
            bad[name] = 5
        if decode(bad)[0] is None:
            yield bad


def _invalid(_: Kind, good: Raw) -> Iterator[Raw]:
    for bad in _odd(good):
        decoded, problems = decode(bad)
        if decoded is not None and not problems and check_raw(bad)[0] is None:
            yield bad


def _odd(good: Raw) -> Iterator[Raw]:
    for spot in spots(good):
        for value in _ODD:
            bad = copy.deepcopy(good)
            if spot.kind in TEXTS:
                bad["data"]["mesh"] = "connectTimeout: -5s"
            else:
                place: Any = bad
                for step in spot.steps[:-1]:
                    place = place[step]
                place[spot.steps[-1]] = value
            yield bad


def _unknown(_: Kind, good: Raw) -> Iterator[Raw]:
    for spot in spots(good):
        annotation = present(spot.annotation)
        choice = isinstance(annotation, type) and issubclass(annotation, Enum)
        if choice and spot.kind not in TEXTS:
            bad = copy.deepcopy(good)
            place: Any = bad
            for step in spot.steps[:-1]:
                place = place[step]
            place[spot.steps[-1]] = "NO_SUCH_CHOICE"
            yield bad


def _undecodable_inside(_: Kind, good: Raw) -> Iterator[Raw]:
    """A value deep inside is of another type; of the texts of MeshConfig the whole is no text."""
    for spot in spots(good):
        if len(spot.steps) > 1 or spot.kind in TEXTS:
            bad = copy.deepcopy(good)
            if spot.kind in TEXTS:
                bad["data"]["mesh"] = {"a": [1]}
            else:
                place: Any = bad
                for step in spot.steps[:-1]:
                    place = place[step]
                place[spot.steps[-1]] = {"": [[1.5]]}
            if decode(bad)[0] is None:
                yield bad


_FAULTS = {
    Fault.DECODE: _undecodable,
    Fault.VALIDATE: _invalid,
    Fault.CHOICE: _unknown,
    Fault.INSIDE: _undecodable_inside,
}


def about(problems: tuple[Problem, ...], reference: str) -> list[Problem]:
    """Return the errors about a resource."""
    return [it for it in problems if it.ref == reference and it.severity is Severity.ERROR]
