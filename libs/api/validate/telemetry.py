"""Rules of a Telemetry."""

from collections.abc import Sequence

from libs.api import reasons
from libs.api.path import Path
from libs.api.report import Report
from libs.api.telemetry.telemetry import (
    AccessLogging,
    CustomTag,
    Metrics,
    TagOperation,
    TagOverride,
    Telemetry,
    Tracing,
)
from libs.api.validate.durations import check_duration
from libs.api.validate.expressions import without_text, wrong_expression
from libs.api.validate.formats import wrong_format
from libs.api.validate.labels import check_selector
from libs.api.validate.single_line import check_line
from libs.api.validate.targets import check_attachment

SPEC: Path = (None, "spec")


def check(resource: Telemetry, report: Report) -> None:
    """Report what is wrong with a Telemetry."""
    spec = resource.spec
    check_attachment(spec.selector, spec.target_ref, spec.target_refs, report=report)
    check_selector(spec.selector, (SPEC, "selector"), report)
    _check_tracing(spec.tracing, (SPEC, "tracing"), report)
    for index, metrics in enumerate(spec.metrics):
        _check_metrics(metrics, ((SPEC, "metrics"), index), report)
    for index, logging in enumerate(spec.access_logging):
        _check_logging(logging, ((SPEC, "accessLogging"), index), report)


def _check_tracing(tracing: Sequence[Tracing], path: Path, report: Report) -> None:
    for index, entry in enumerate(tracing):
        place = (path, index)
        if index:
            text = "only the first entry for a side of the traffic counts"
            report.warning(place, reasons.NO_EFFECT, text)
        if len(entry.providers) > 1:
            text = "spans only go to the first provider"
            report.warning(((place, "providers"), 1), reasons.NO_EFFECT, text)
        for name, tag in entry.custom_tags.items():
            _check_tag(name, tag, ((place, "customTags"), name), report=report)


def _check_tag(name: str, tag: CustomTag, path: Path, *, report: Report) -> None:
    if not name:
        report.error(path, reasons.EMPTY_VALUE, "a tag must have a name")
    kinds = sum(
        kind is not None for kind in (tag.literal, tag.environment, tag.header, tag.formatter)
    )
    names = "literal, environment, header and formatter"
    if kinds > 1:
        report.error(path, reasons.CONFLICTING_FIELDS, f"only one of {names} may be set")
    elif kinds == 0:
        text = f"needs one of {names}; without one there is no tag"
        report.warning(path, reasons.NO_EFFECT, text)
    if tag.header:
        check_line(tag.header.name, ((path, "header"), "name"), report)
    if tag.formatter and (wrong := wrong_format(tag.formatter.value)):
        report.error(((path, "formatter"), "value"), reasons.INVALID_FORMAT, wrong)


def _check_metrics(metrics: Metrics, path: Path, report: Report) -> None:
    check_duration(metrics.reporting_interval, (path, "reportingInterval"), report)
    for index, override in enumerate(metrics.overrides):
        place = ((path, "overrides"), index)
        match = override.match
        if match and match.metric is not None and match.custom_metric is not None:
            text = "only one of metric and customMetric may be set"
            report.error((place, "match"), reasons.CONFLICTING_FIELDS, text)
        for name, tag in override.tag_overrides.items():
            _check_override(name, tag, ((place, "tagOverrides"), name), report=report)


def _check_override(name: str, tag: TagOverride, path: Path, *, report: Report) -> None:
    if not name:
        report.warning(path, reasons.EMPTY_VALUE, "a tag must have a name")
    if tag.operation is TagOperation.REMOVE:
        if tag.value is not None:
            text = "a tag that is removed has no value"
            report.error((path, "value"), reasons.CONFLICTING_FIELDS, text)
    elif not tag.value:
        report.error((path, "value"), reasons.MISSING_FIELD, "a tag needs a value: an expression")
    elif wrong := wrong_expression(without_text(tag.value)):
        text = f"{wrong}; the metric goes without this tag"
        report.warning((path, "value"), reasons.INVALID_EXPRESSION, text)


def _check_logging(logging: AccessLogging, path: Path, report: Report) -> None:
    if logging.filter and (wrong := wrong_expression(logging.filter.expression)):
        place = ((path, "filter"), "expression")
        report.error(place, reasons.INVALID_EXPRESSION, wrong)
