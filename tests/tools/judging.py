"""Judging: what is said of a field when the least resource that sets it is judged.

A probe is the least resource of a kind that sets one field. What is said of the field whatever else
is set beside it is said of the field. MeshConfig and MeshNetworks are judged inside of their
ConfigMap.
"""

import copy
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, get_args, get_origin

import yaml
from msgspec import Struct
from msgspec.structs import FieldInfo, fields, replace

from libs.api import mesh_config, reasons
from libs.api.decode import decode
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import MeshConfig
from libs.api.mesh_networks import MeshNetworks
from libs.api.problem import Problem, Severity
from libs.api.registry import Kind
from libs.api.validate import validate
from libs.model.settings import MeshSettings
from libs.translate.apply import State, Upsert, apply, initial
from tests.tools.field_paths import Leaf, is_message, least, present, title, values

_FIRM = frozenset({reasons.UNSUPPORTED_FIELD, reasons.DEPRECATED})
_TELLING = _FIRM | {reasons.NO_EFFECT, reasons.CONFLICTING_FIELDS, reasons.INVALID_TARGET}
"""The others may only lack company: another field beside the one that is judged."""
_NEAR = 4


class Subject(NamedTuple):
    """What has a section on the page: its title, group and type."""

    title: str
    group: str
    struct: type[Struct]
    kind: Kind | None = None  # None: a text of the mesh's ConfigMap
    key: str = ""  # of the ConfigMap's data, where the text is


MESH = Subject("MeshConfig", "the ConfigMap `istio`", MeshConfig, key=mesh_config.KEY)
NETWORKS = Subject(
    "MeshNetworks",
    "the ConfigMap `istio`, `meshNetworks`",
    MeshNetworks,
    key=mesh_config.NETWORKS_KEY,
)


def subject(kind: Kind) -> Subject:
    """Return the subject that a kind is."""
    assert kind.struct is not None
    return Subject(title(kind), kind.group or "core", kind.struct, kind)


class Verdict(NamedTuple):
    """What is said of a field if it has `value`; of every value if that is empty."""

    severity: Severity
    text: str
    value: str


class Judge:
    """Judges probes of one subject."""

    def __init__(self, about: Subject) -> None:
        self._about = about
        self._usual = {(it.path, it.text) for it in self._judged(self._probe())}

    def of(self, leaf: Leaf) -> list[Verdict]:
        """Return what is said of a field, and of which of its values."""
        said = {str(value): self._said(leaf.path, value) for value in leaf.values}
        always = all(said.values())
        return [
            Verdict(it.severity, f"{it.text} ({it.reason})", "" if always else value)
            for value, problems in said.items()
            for it in problems
        ]

    def _said(self, path: str, value: object) -> list[Problem]:
        """Return what is said of a field whatever else is set beside it."""
        plain = self._probe(path, value)
        every = self._judged(plain)
        said = [it for it in every if self._is_of(it, path)]
        if not said or all(it.reason in _FIRM for it in said):
            return said
        wrong = _errors(every)
        for company in _companies(self._about.struct, path):
            other = self._judged(self._with(plain, company))
            if _errors(other) <= wrong and not any(self._is_of(it, path) for it in other):
                return []
        return said

    def _is_of(self, problem: Problem, path: str) -> bool:
        if problem.reason not in _TELLING:
            return False
        usual = (problem.path, problem.text) in self._usual
        if usual and not (problem.reason in _FIRM and path.startswith(f"{problem.path}.")):
            return False
        return is_about(problem.path, path, top=self._about.kind is None)

    def _probe(self, path: str = "", value: object = None) -> dict[str, Any]:
        """Return the least of the subject, which sets a field if there is a path."""
        raw = least(self._about.struct)
        if self._about.kind:
            metadata = {"name": "a", **({"namespace": "a"} if self._about.kind.namespaced else {})}
            identity = {
                "apiVersion": self._about.kind.api_versions[0],
                "kind": self._about.kind.name,
            }
            raw = {**identity, **raw, "metadata": metadata}
        if path:
            put(self._about.struct, raw, path.split("."), value)
        return raw

    def _with(self, plain: dict[str, Any], company: tuple[str, Any]) -> dict[str, Any]:
        made = copy.deepcopy(plain)
        put(self._about.struct, made, company[0].split("."), company[1])
        return made

    def _judged(self, raw: dict[str, Any]) -> list[Problem]:
        """Return what is said of a probe, with paths inside of the subject."""
        if self._about.kind:
            return judged(raw)
        found = judged(as_config_map(raw, self._about.key))
        inside = f"data.{self._about.key}."
        return [replace(it, path=it.path.removeprefix(inside)) for it in found]


def is_about(problem_path: str, path: str, *, top: bool) -> bool:
    """Tell whether a problem at a path is about the field at a path, or what it stands in."""
    at = re.sub(r"\[[^\]]*\]", "[]", problem_path)
    near = at in {path, f"{path}[]"} or path.startswith((f"{at}.", f"{at}["))
    return near and (top or at.count(".") > 0)


def as_config_map(text: dict[str, Any], key: str = mesh_config.KEY) -> dict[str, Any]:
    """Return the ConfigMap that holds a MeshConfig, or another text under its own key."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": mesh_config.NAME, "namespace": "istio-system"},
        "data": {key: yaml.safe_dump(text)},
    }


def judged(raw: dict[str, Any]) -> list[Problem]:
    """Return what is said of a resource, by itself and in a mesh of its own."""
    resource, problems = decode(raw)
    if resource is None:
        return problems
    of_mesh = mesh_config.read(resource)[1] if isinstance(resource, ConfigMap) else []
    step = _quiet(lambda: apply(_START, [Upsert(resource)]).problems)
    return [*problems, *validate(resource), *of_mesh, *step]


def put(struct: type[Struct], into: dict[str, Any], path: list[str], value: object) -> None:
    """Set a field of raw data of a type; what it stands in is made if it is not there."""
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
        put(inner, item, path[1:], value)


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


def _errors(problems: Iterable[Problem]) -> set[tuple[str, str]]:
    return {(it.path, it.text) for it in problems if it.severity is Severity.ERROR}


def _companies(struct: type[Struct], path: str) -> Iterator[tuple[str, Any]]:
    """Yield fields beside a field, and beside what it is in, with values; the nearest first.

    Those further away than `_NEAR` levels are left out: there are hundreds.
    """
    found, at = list[tuple[str, Any]](), ""
    for step in path.split("."):
        field = next(one for one in fields(struct) if one.encode_name == step.removesuffix("[]"))
        if at:
            beside = (one for one in fields(struct) if one.name != field.name)
            found += (
                (f"{at}.{one.encode_name}", value)
                for one in beside
                for value in values(present(one.type))
            )
        at = f"{at}.{step}" if at else step
        inner = _inside(field, None)[0]
        struct = inner if is_message(inner) else struct
    near = [one for one in found if path.count(".") - one[0].count(".") <= _NEAR]
    yield from sorted(near, key=lambda one: one[0].count("."), reverse=True)


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
    """Return a mesh without mutual TLS, where TLS of a Sidecar's own and any Ingress count."""
    policy, _ = decode(_PLAINTEXT)
    assert policy is not None
    return apply(initial(MeshSettings(ingress="DEFAULT")), [Upsert(policy)]).state


_START = _start()
