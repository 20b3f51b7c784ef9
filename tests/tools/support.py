"""docs/reference/support.md: what becomes of each field of each kind, found out and not written.

The types say which fields there are. A field that the input of a golden case sets is supported, and
the case is named; a test elsewhere is named by a comment `# proves: KIND PATH, PATH` above it. That
a field is flagged or refused is found by judging a probe: the least resource that sets it. What is
neither is untested, and the page says so. What stands at several places of a kind with one type is
listed once, and then only where a test sets it too.
"""

import copy
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from libs.api import reasons, registry
from libs.api.decode import decode
from libs.api.problem import Problem, Severity
from libs.api.registry import Kind
from libs.api.validate import validate
from libs.model.settings import MeshSettings
from libs.translate.apply import State, Upsert, apply, initial
from tests.tools import deviations
from tests.tools.field_paths import Leaf, is_message, least, leaves, present, values

ROOT = Path(__file__).parents[2]
GOLDENS = ROOT / "tests" / "golden"
SUPPORTED, FLAGGED, REFUSED = "supported", "flagged", "refused"
UNTESTED, SHARED = "untested", "shared"
STATES = (SUPPORTED, SHARED, FLAGGED, REFUSED, UNTESTED)
_NAMED = 2
_TELLING = frozenset({reasons.UNSUPPORTED_FIELD, reasons.NO_EFFECT, reasons.DEPRECATED})
_HEAD = """# Support

What becomes of each field. **supported**: the tests named set it, and what comes out is compared.
**flagged**: accepted without effect, or deprecated, with a warning. **refused**: an error says so.
**shared**: of the same type as fields listed before, and untested or flagged as they are in this
place. **untested**: neither flagged nor set by any of these tests; it may well work. `[]` stands
for each item of a list or map. Of Kubernetes' own kinds only what the mesh reads is listed.
`metadata` and `status` are left out.
"""
_PROOF = re.compile(r"^\s*# proves: (\w+) (.+)$", re.MULTILINE)


class Row(NamedTuple):
    """What becomes of one field."""

    path: str
    state: str
    note: str


def page(head: str) -> str:
    """Return the page."""
    covered = _covered()
    sections = {kind: _rows(kind, covered) for kind in registry.KINDS if kind.struct}
    counts: dict[str, int] = defaultdict(int)
    for rows in sections.values():
        for row in rows:
            counts[row.state] += 1
    summary = [f"| {state} | {counts[state]} |" for state in STATES]
    parts = [head + _HEAD, "\n".join(["| fields | |", "| --- | --- |", *summary]), *_deviations()]
    parts += [_section(kind, rows) for kind, rows in sections.items()]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _deviations() -> Iterator[str]:
    rows = [f"| {one.where} | {one.what} | {one.why} |" for one in deviations.DEVIATIONS]
    yield "## Where Seine differs from Istio on purpose"
    yield "\n".join(["| where | difference | reason |", "| --- | --- | --- |", *rows])


def _section(kind: Kind, rows: Iterable[Row]) -> str:
    title = f"## {kind.name} (`{kind.group or 'core'}`)"
    if not kind.effective:
        return f"{title}\n\nRefused as a whole, after it was judged: not translated yet."
    lines = [_line(group) for group in _alike(rows)]
    if not lines:
        return f"{title}\n\nOnly its metadata is read."
    return "\n".join([title, "", "| fields | | by |", "| --- | --- | --- |", *lines])


def _line(group: list[Row]) -> str:
    note = group[0].note.replace("|", "\\|").replace("\n", " ")
    return f"| {_names(group)} | {group[0].state} | {note} |"


def _alike(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = list(rows)
    shared = {row.path: [it for it in rows if it == row] for row in rows if row.state == SHARED}
    for _, group in groupby(rows, lambda row: (_parent(row.path), row.state, row.note)):
        found = list(group)
        if found[0].state != SHARED:
            yield found
        else:
            yield from (shared.pop(row.path) for row in found if row.path in shared)


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _names(group: list[Row]) -> str:
    first, *more = group
    if first.state == SHARED:
        return f"`{first.path}`" + (f": {len(group)} fields" if more else "")
    return ", ".join([f"`{first.path}`", *(f"`.{row.path.rpartition('.')[2]}`" for row in more)])


def _rows(kind: Kind, covered: Mapping[tuple[str, str], list[str]]) -> list[Row]:
    judge, rows = _Judge(kind), dict[str, Row]()
    for leaf in leaves(kind):
        twin = rows.get(leaf.twin + leaf.path.removeprefix(leaf.place)) if leaf.twin else None
        if twin and (kind.name, leaf.path) not in covered:
            rows[leaf.path] = Row(leaf.place, SHARED, f"as `{leaf.twin}`")
        else:
            rows[leaf.path] = _row(kind, leaf, judge, covered)
    return list(rows.values())


def _row(
    kind: Kind,
    leaf: Leaf,
    judge: "_Judge",
    covered: Mapping[tuple[str, str], list[str]],
) -> Row:
    found = covered.get((kind.name, leaf.path), [])
    verdicts = judge.of(leaf)
    note = "; ".join(
        dict.fromkeys(f"`{value}`: {text}" if value else text for _, text, value in verdicts)
    )
    refused = any(severity is Severity.ERROR and not value for severity, _, value in verdicts)
    if not kind.effective:
        return Row(leaf.path, REFUSED, "")
    if found and not refused:
        return Row(leaf.path, SUPPORTED, _tests(found) + (f"; otherwise: {note}" if note else ""))
    if verdicts and not any(value for _, _, value in verdicts):
        return Row(leaf.path, REFUSED if refused else FLAGGED, note)
    return Row(leaf.path, UNTESTED, note)


def _tests(found: list[str]) -> str:
    names = list(dict.fromkeys(found))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


# Which tests set them


def _covered() -> dict[tuple[str, str], list[str]]:
    """Return the tests that set a field, by kind and path; those first that set few others."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for case in sorted(GOLDENS.glob("*/in.yaml")):
        for document in yaml.load_all(case.read_text(), yaml.CSafeLoader):
            for kind, path in _set_in(document):
                found[kind, path].append(f"golden `{case.parent.name}`")
    for file in sorted(ROOT.glob("tests/*/**/test_*.py")):
        for kind, paths in _PROOF.findall(file.read_text()):
            for path in paths.split(","):
                found[kind, path.strip()].append(f"`{file.relative_to(ROOT / 'tests')}`")
    about = Counter(name for names in found.values() for name in names)
    return {
        place: sorted(names, key=lambda name: (about[name], name)) for place, names in found.items()
    }


def _set_in(document: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    if not isinstance(document, dict):
        return
    kind = registry.find(str(document.get("apiVersion")), str(document.get("kind")))
    if isinstance(kind, Kind) and kind.struct:
        for path in set(_set_below(kind.struct, document, "")):
            yield kind.name, path


def _set_below(annotation: Any, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401
    annotation = present(annotation)
    arguments = get_args(annotation)
    if isinstance(value, dict) and is_message(annotation) and fields(annotation):
        for field in fields(annotation):
            for name in {field.name, field.encode_name} & value.keys():
                below = f"{path}.{field.encode_name}" if path else field.encode_name
                yield from _set_below(field.type, value[name], below)
    elif isinstance(value, list | dict) and arguments and is_message(present(arguments[-1])):
        yield from _each(arguments[-1], value, path)
    elif isinstance(value, list) and arguments and is_message(present(arguments[0])):
        yield from _each(arguments[0], value, path)
    else:
        yield path


def _each(annotation: Any, value: Any, path: str) -> Iterator[str]:  # noqa: ANN401
    for item in value.values() if isinstance(value, dict) else value:
        yield from _set_below(annotation, item, f"{path}[]")


# What is said of them


class _Judge:
    """Judges probes of one kind."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._usual = {(it.path, it.text) for it in _judged(_probe(kind))}

    def of(self, leaf: Leaf) -> list[tuple[Severity, str, str]]:
        """Return what is said of a field, and of which of its values; of all if it is empty."""
        said = {str(value): self._said(leaf.path, value) for value in leaf.values}
        always = all(said.values())
        return [
            (it.severity, f"{it.text} ({it.reason})", "" if always else value)
            for value, problems in said.items()
            for it in problems
        ]

    def _said(self, path: str, value: object) -> list[Problem]:
        """Return what is said of a field whatever else is set beside it."""
        plain = _probe(self._kind, path, value)
        every = _judged(plain)
        said = [it for it in every if self._is_of(it, path)]
        if not said or all(it.reason != reasons.NO_EFFECT for it in said):
            return said
        wrong = _errors(every)
        for company in _companies(self._kind, path):
            other = _judged(_with(self._kind, plain, company))
            if _errors(other) <= wrong and not any(self._is_of(it, path) for it in other):
                return []
        return said

    def _is_of(self, problem: Problem, path: str) -> bool:
        at = re.sub(r"\[[^\]]*\]", "[]", problem.path)
        near = at in {path, f"{path}[]"} or path.startswith((f"{at}.", f"{at}["))
        near = near and problem.reason in _TELLING
        return near and at.count(".") > 0 and (problem.path, problem.text) not in self._usual


def _probe(kind: Kind, path: str = "", value: object = None) -> dict[str, Any]:
    """Return the least resource of a kind, which sets a field if there is a path."""
    assert kind.struct is not None
    metadata = {"name": "a", **({"namespace": "a"} if kind.namespaced else {})}
    raw = {"apiVersion": kind.api_versions[0], "kind": kind.name, **least(kind.struct)}
    raw["metadata"] = metadata
    if path:
        _put(kind.struct, raw, path.split("."), value)
    return raw


def _put(struct: type[Struct], into: dict[str, Any], path: list[str], value: object) -> None:
    name = path[0].removesuffix("[]")
    field = next(one for one in fields(struct) if one.encode_name == name)
    if len(path) == 1 and not path[0].endswith("[]"):
        into[name] = value
        return
    inner, below = _inside(field, into.get(name))
    into[name] = below
    item = next(iter(below.values())) if _is_map(field) else below
    item = item[0] if isinstance(item, list) else item
    if len(path) > 1:
        _put(inner, item, path[1:], value)


def _is_map(field: FieldInfo) -> bool:
    return get_origin(present(field.type)) is dict


def _inside(field: FieldInfo, there: Any) -> tuple[type[Struct], Any]:  # noqa: ANN401
    annotation = present(field.type)
    origin, arguments = get_origin(annotation), get_args(annotation)
    inner = present(arguments[-1 if origin is dict else 0]) if arguments else annotation
    empty = least(inner) if is_message(inner) else {}
    if origin in {tuple, dict}:
        return inner, there or ([empty] if origin is tuple else {"a": empty})
    return inner, empty if there is None else there


def _judged(raw: dict[str, Any]) -> list[Problem]:
    """Return what is said of a resource about fields without effect."""
    resource, problems = decode(raw)
    if resource is not None:
        found = resource
        step = _quiet(lambda: apply(_START, [Upsert(found)]).problems)
        problems = [*problems, *validate(resource), *step]
    return problems


def _errors(problems: Iterable[Problem]) -> set[tuple[str, str]]:
    return {(it.path, it.text) for it in problems if it.severity is Severity.ERROR}


def _companies(kind: Kind, path: str) -> Iterator[tuple[str, Any]]:
    """Yield fields beside a field, and beside what it is in, with values; the nearest first."""
    assert kind.struct is not None
    struct: type[Struct] = kind.struct
    found, at = list[tuple[str, Any]](), ""
    for step in path.split("."):
        field = next(one for one in fields(struct) if one.encode_name == step.removesuffix("[]"))
        if at:
            beside = (one for one in fields(struct) if one is not field)
            found += (
                (f"{at}.{one.encode_name}", value)
                for one in beside
                for value in values(present(one.type))
            )
        at = f"{at}.{step}" if at else step
        struct = _inside(field, None)[0] if is_message(_inside(field, None)[0]) else struct
    yield from sorted(found, key=lambda one: one[0].count("."), reverse=True)


def _with(kind: Kind, plain: dict[str, Any], company: tuple[str, Any]) -> dict[str, Any]:
    assert kind.struct is not None
    made = copy.deepcopy(plain)
    _put(kind.struct, made, company[0].split("."), company[1])
    return made


def _quiet(run: Callable[[], Iterable[Problem]]) -> Iterable[Problem]:
    """A probe may be too odd to be translated, as admission would never let it through."""
    try:
        return run()
    except (ValueError, KeyError, IndexError, AttributeError):
        return ()


_PLAINTEXT: dict[str, object] = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "a", "namespace": "a"},
    "spec": {"mtls": {"mode": "DISABLE"}},
}


def _start() -> State:
    """Return a mesh without mutual TLS, where TLS of a Sidecar's own counts."""
    policy, _ = decode(_PLAINTEXT)
    assert policy is not None
    return apply(initial(MeshSettings()), [Upsert(policy)]).state


_START = _start()
