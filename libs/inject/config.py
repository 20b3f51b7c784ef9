"""Config: the ConfigMap `istio-sidecar-injector[-<revision>]`, read, and whatever is wrong with it.

Its `config` says who is injected and with which templates, its `values` how proxies are run. What
cannot be read is a Problem and stands aside: without any ConfigMap the defaults hold.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from libs.api import documents, reasons
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_parts import LabelSelector
from libs.api.path import Path
from libs.api.problem import Problem
from libs.api.readers import reader_of
from libs.api.report import Report
from libs.api.resource import Part
from libs.inject import words
from libs.inject.templates import Template, compiled
from libs.inject.values import Values

NAME = "istio-sidecar-injector"
CONFIG_KEY = "config"
VALUES_KEY = "values"
_DATA: Path = (None, "data")


class Policy(StrEnum):
    """What becomes of pods about which nothing else says anything."""

    ENABLED = "enabled"
    DISABLED = "disabled"


class _Written(Part, frozen=True):
    policy: Policy = Policy.ENABLED
    always_inject_selector: tuple[LabelSelector, ...] = ()
    never_inject_selector: tuple[LabelSelector, ...] = ()
    injected_annotations: dict[str, str] = {}
    default_templates: tuple[str, ...] = ()
    aliases: dict[str, tuple[str, ...]] = {}
    templates: dict[str, str] = {}


class InjectorConfig(Struct, frozen=True, kw_only=True):
    """Who is injected, and with what. `templates` are the user's own, beside the built-in ones."""

    policy: Policy = Policy.ENABLED
    always: tuple[LabelSelector, ...] = ()
    never: tuple[LabelSelector, ...] = ()
    injected_annotations: Mapping[str, str] = {}
    default_templates: tuple[str, ...] = (words.SIDECAR_TEMPLATE,)
    aliases: Mapping[str, tuple[str, ...]] = {}
    templates: Mapping[str, Template] = {}
    refused: Mapping[str, str] = {}
    """Why templates are not there that are written, by their names."""
    values: Values = Values()
    raw_values: Mapping[str, Any] = {}
    """The values as they are written, for users' templates."""


def config_map_name(revision: str) -> str:
    """Return the name of the ConfigMap of a revision."""
    return NAME if revision in {"", "default"} else f"{NAME}-{revision}"


def read(resource: ConfigMap) -> tuple[InjectorConfig, list[Problem]]:
    """Return what the ConfigMap says, with defaults for what cannot be read, and what is wrong."""
    report = Report(resource.ref)
    raw_values = _mapping(resource, VALUES_KEY, report)
    written = _read(_Written, _mapping(resource, CONFIG_KEY, report), (_DATA, CONFIG_KEY), report)
    values = _read(Values, raw_values, (_DATA, VALUES_KEY), report)
    templates, refused = _templates(written.templates, report)
    config = InjectorConfig(
        policy=written.policy,
        always=written.always_inject_selector,
        never=written.never_inject_selector,
        injected_annotations=written.injected_annotations,
        default_templates=written.default_templates or (words.SIDECAR_TEMPLATE,),
        aliases=written.aliases,
        templates=templates,
        refused=refused,
        values=values,
        raw_values=raw_values,
    )
    return config, report.problems


def _read(kind: type, raw: Mapping[str, Any], path: Path, report: Report) -> Any:  # noqa: ANN401, PLR0917
    found = reader_of(kind)(raw, path, report)
    return found if isinstance(found, kind) else kind()


def _mapping(resource: ConfigMap, key: str, report: Report) -> dict[str, Any]:
    for document in documents.read(resource.data.get(key, ""), "")[:1]:
        for problem in document.problems:
            text = f"line {problem.line} of the text: {problem.text}"
            report.error((_DATA, key), problem.reason, text)
        return dict(document.raw or {})
    return {}


def _templates(
    texts: Mapping[str, str], report: Report
) -> tuple[dict[str, Template], dict[str, str]]:
    """Return what can be used, and why the others cannot.

    For Istio's own templates there are built-in ones: who brings a cluster's ConfigMap along need
    not take them out.
    """
    found, refused = {}, {}
    for name, text in sorted(texts.items()):
        template, wrong = compiled(text)
        path = (((_DATA, CONFIG_KEY), "templates"), name)
        if template is not None:
            found[name] = template
        elif name in words.ISTIO_TEMPLATES:
            said = f"the built-in template is used instead of this one: {wrong}"
            report.warning(path, reasons.UNSUPPORTED_FIELD, said)
        else:
            refused[name] = wrong
            report.error(path, reasons.UNSUPPORTED_FIELD, wrong)
    return found, refused
