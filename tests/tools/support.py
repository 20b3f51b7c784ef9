"""docs/reference/support.md: what becomes of each field of each kind, found out and not written.

The types say which fields there are. A field is supported if a test shows that it has effect: a
golden case where another value, or none, changes what some proxy gets (`tests.golden.proofs`). What
reaches no proxy is shown by a test elsewhere, and what becomes of requests by one that asks real
Envoys; both are named by comments `# proves: KIND PATH, PATH` in tests and tables. That a field is
flagged or refused is found by judging a probe (`tests.tools.judging`). What is neither is untested,
and a test sees that nothing is.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from libs.api import registry
from libs.api.problem import Severity
from tests.golden.proofs import proofs
from tests.tools import deviations
from tests.tools.field_paths import Leaf, leaves
from tests.tools.judging import MESH, NETWORKS, Judge, Subject, Verdict, subject

ROOT = Path(__file__).parents[2]
SUPPORTED, FLAGGED, REFUSED = "supported", "flagged", "refused"
UNTESTED = "untested"
NOTED = "noted"
STATES = (SUPPORTED, NOTED, FLAGGED, REFUSED, UNTESTED)
_ONE_CLUSTER = "a mesh of one cluster: every service is local to it"
_NOTED: Mapping[tuple[str, str], str] = {
    ("MeshConfig", "serviceSettings[].settings.clusterLocal"): _ONE_CLUSTER,
    ("MeshConfig", "serviceSettings[].hosts"): _ONE_CLUSTER,
    ("MeshNetworks", "networks[].gateways[].locality"): "warned of: nothing reads it, as in Istio",
    ("Sidecar", "spec.ingress[].port.name"): "a name for people, checked as in Istio",
    ("Sidecar", "spec.egress[].port.name"): "a name for people, checked as in Istio",
}
"""Fields that are read, and that nothing has to come of."""
_HEAD = """# Support

What becomes of each field. **supported**: in the golden case named (`tests/golden/<case>/in.yaml`)
another value, or none, changes what some proxy gets; *moved* means that the case's policy was put
into this place first, and `tests/golden/moved.yaml` has what differs then. A test named beside it,
or instead where no proxy gets anything, shows what comes of it. **noted**: nothing has to come of
it. **flagged**: accepted without effect, or deprecated, with a warning. **refused**: an error says
so. `make docs` finds all of this out anew, and a test compares. `[]` stands for each item of a list
or map. Of Kubernetes' own kinds only what the mesh reads is listed. `metadata` and `status` are
left out.
"""
_PROOF = re.compile(r"^\s*# proves: (\w+) (.+)$", re.MULTILINE)


class Row(NamedTuple):
    """What becomes of one field."""

    path: str
    state: str
    note: str


def page(head: str) -> str:
    """Return the page."""
    sections = {about: rows(about) for about in subjects()}
    counts: dict[str, int] = defaultdict(int)
    for found in sections.values():
        for row in found:
            counts[row.state] += 1
    summary = [f"| {state} | {counts[state]} |" for state in STATES]
    parts = [head + _HEAD, "\n".join(["| fields | |", "| --- | --- |", *summary]), *_deviations()]
    parts += [_section(about, found) for about, found in sections.items()]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def subjects() -> list[Subject]:
    """Return all that has a section: every kind that is read, and what ConfigMaps hold."""
    return [*(subject(kind) for kind in registry.KINDS if kind.struct), MESH, NETWORKS]


def _deviations() -> Iterator[str]:
    found = [f"| {one.where} | {one.what} | {one.why} |" for one in deviations.DEVIATIONS]
    yield "## Where Seine differs from Istio on purpose"
    yield "\n".join(["| where | difference | reason |", "| --- | --- | --- |", *found])


def _section(about: Subject, found: Iterable[Row]) -> str:
    group = about.group if " " in about.group else f"`{about.group}`"
    lines = [_line(group) for group in _alike(found)]
    title = f"## {about.title} ({group})"
    if not lines:
        return f"{title}\n\nOnly its metadata is read."
    return "\n".join([title, "", "| fields | | by |", "| --- | --- | --- |", *lines])


def _line(group: list[Row]) -> str:
    note = group[0].note.replace("|", "\\|").replace("\n", " ")
    return f"| {_names(group)} | {group[0].state} | {note} |"


def _alike(found: Iterable[Row]) -> Iterator[list[Row]]:
    for _, group in groupby(found, lambda row: (_parent(row.path), row.state, row.note)):
        yield list(group)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _names(group: list[Row]) -> str:
    first, *more = group
    return ", ".join([f"`{first.path}`", *(f"`.{row.path.rpartition('.')[2]}`" for row in more)])


def rows(about: Subject) -> list[Row]:
    """Return what becomes of each field."""
    judge = Judge(about)
    return [_row(about, leaf, judge.of(leaf)) for leaf in leaves(about.struct)]


def _row(about: Subject, leaf: Leaf, verdicts: list[Verdict]) -> Row:
    shown = _shown(about.title, leaf.path)
    note = "; ".join(
        dict.fromkeys(f"`{it.value}`: {it.text}" if it.value else it.text for it in verdicts)
    )
    refused = any(it.severity is Severity.ERROR and not it.value for it in verdicts)
    if shown and not refused:
        return Row(leaf.path, SUPPORTED, shown + (f"; otherwise: {note}" if note else ""))
    if (about.title, leaf.path) in _NOTED:
        return Row(leaf.path, NOTED, _NOTED[about.title, leaf.path])
    if verdicts:
        only_some = all(it.value and it.severity is Severity.ERROR for it in verdicts)
        return Row(leaf.path, REFUSED if refused or only_some else FLAGGED, note)
    return Row(leaf.path, UNTESTED, note)


def _shown(title: str, path: str) -> str:
    """Return which test shows that a field has effect, or an empty text."""
    proof = proofs().get((title, path))
    tests = named(title, path)
    if proof is None:
        return ", ".join(tests)
    moved = ", moved" if proof.moved else ""
    return ", ".join([f"golden `{proof.case}`{moved}", *tests])


def named(title: str, path: str) -> list[str]:
    """Return the tests that say that they show what a field does."""
    return _named().get((title, path), [])


@cache
def _named() -> Mapping[tuple[str, str], list[str]]:
    """Return the tests that name a field, by title and path."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    tables = ROOT.glob("tests/envoy/behaviour/*.yaml")
    for file in sorted([*ROOT.glob("tests/*/**/test_*.py"), *tables]):
        for title, paths in _PROOF.findall(file.read_text()):
            for path in paths.split(","):
                found[title, path.strip()].append(f"`{file.relative_to(ROOT / 'tests')}`")
    return found
