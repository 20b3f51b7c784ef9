"""Rules of an EnvoyFilter; of what a patch holds only scripts are judged here."""

from libs.api import reasons
from libs.api.networking.envoy_filter import (
    ApplyTo,
    ConfigPatch,
    EnvoyFilter,
    FilterClass,
    ListenerMatch,
    ObjectMatch,
    Operation,
    Patch,
    PatchContext,
    ProxyMatch,
)
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.labels import check_workload_labels
from libs.api.validate.patch_matches import check_object
from libs.api.validate.ports import check_port
from libs.api.validate.regex import MAX_BYTES, check_regex
from libs.api.validate.scripts import check_patch
from libs.api.validate.targets import check_targets

SPEC: Path = (None, "spec")
RELATIVE = frozenset(
    {Operation.REMOVE, Operation.REPLACE, Operation.INSERT_BEFORE, Operation.INSERT_AFTER}
)
"""Operations whose outcome depends on what other patches have done before."""

NO_ADDING = frozenset({ApplyTo.ROUTE_CONFIGURATION, ApplyTo.HTTP_ROUTE})
REPLACEABLE = frozenset({ApplyTo.NETWORK_FILTER, ApplyTo.HTTP_FILTER, ApplyTo.VIRTUAL_HOST})
_ADDING = frozenset(
    {Operation.ADD, Operation.INSERT_BEFORE, Operation.INSERT_AFTER, Operation.INSERT_FIRST}
)


def check(resource: EnvoyFilter, report: Report) -> None:
    """Report what is wrong with an EnvoyFilter."""
    spec = resource.spec
    text = "what it patches is no interface: look again at every new version"
    report.warning(SPEC, reasons.ENVOY_INTERNALS, text)
    check_workload_labels(spec.workload_selector, (SPEC, "workloadSelector"), report)
    if spec.workload_selector is not None and spec.target_refs:
        text = "only one of workloadSelector and targetRefs may be set"
        report.error(SPEC, reasons.CONFLICTING_FIELDS, text)
    check_targets(spec.target_refs, (SPEC, "targetRefs"), report, lenient=True)
    for index, patch in enumerate(spec.config_patches):
        place = ((SPEC, "configPatches"), index)
        _check_patch(patch, place, report, prioritised=spec.priority != 0)


def _check_patch(patch: ConfigPatch, path: Path, report: Report, *, prioritised: bool) -> None:
    match = patch.match
    if match:
        _check_context(match, (path, "match"), report)
        _check_proxy(match.proxy, ((path, "match"), "proxy"), report)
        check_object(patch.apply_to, match, (path, "match"), report=report)
        _check_listener(match.listener, ((path, "match"), "listener"), report)
    if match and match.context is PatchContext.WAYPOINT:
        return
    if patch.apply_to is ApplyTo.INVALID:
        report.error((path, "applyTo"), reasons.MISSING_FIELD, "applyTo is required")
    if patch.patch is None:
        report.error((path, "patch"), reasons.MISSING_FIELD, "patch is required")
    elif _check_change(patch.patch, (path, "patch"), report):
        if patch.apply_to is not ApplyTo.INVALID:
            _check_operation(patch.patch, patch.apply_to, (path, "patch"), report=report)
        if patch.patch.operation in RELATIVE and not prioritised:
            text = "depends on which other patches come first; set spec.priority"
            versioned = match and match.proxy and match.proxy.proxy_version
            reason = reasons.RELATIVE_PATCH_OF_VERSION if versioned else reasons.RELATIVE_PATCH
            report.warning(((path, "patch"), "operation"), reason, text)


def _check_listener(listener: ListenerMatch | None, path: Path, report: Report) -> None:
    if listener and listener.port_name:
        text = "Istio has this field, but never does anything with it"
        report.warning((path, "portName"), reasons.UNSUPPORTED_FIELD, text)


def _check_change(patch: Patch, path: Path, report: Report) -> bool:
    """Report a patch that does not say what to do; return whether it does."""
    if patch.operation is Operation.INVALID:
        report.error((path, "operation"), reasons.MISSING_FIELD, "operation is required")
        return False
    if patch.operation is not Operation.REMOVE and patch.value is None:
        text = f"{patch.operation} needs a value"
        report.error((path, "value"), reasons.MISSING_FIELD, text)
        return False
    if patch.value is not None:
        check_patch(patch.value, (path, "value"), report)
    return True


def _check_context(match: ObjectMatch, path: Path, report: Report) -> None:
    at_waypoint = match.context is PatchContext.WAYPOINT
    if at_waypoint != (match.waypoint is not None):
        text = "context: WAYPOINT and waypoint need each other"
        report.error(path, reasons.CONFLICTING_FIELDS, text)
    elif match.waypoint and match.waypoint.port_number is not None:
        check_port(match.waypoint.port_number, ((path, "waypoint"), "portNumber"), report)


def _check_proxy(proxy: ProxyMatch | None, path: Path, report: Report) -> None:
    if proxy is None or not proxy.proxy_version:
        return
    path = (path, "proxyVersion")
    if len(proxy.proxy_version.encode()) > MAX_BYTES:
        text = f"longer than {MAX_BYTES} bytes, and so not looked at"
        report.warning(path, reasons.INVALID_REGEX, text)
    else:
        check_regex(proxy.proxy_version, path, report)


def _check_operation(patch: Patch, of: ApplyTo, path: Path, *, report: Report) -> None:
    """Warn of operations that nothing comes of; Istio's analyzer calls them IST0152 to IST0154."""
    operation, text = patch.operation, f"{patch.operation} does nothing to a {of}"
    place = (path, "operation")
    if operation in {Operation.ADD, Operation.REMOVE} and of in NO_ADDING:
        report.warning(place, reasons.NO_EFFECT, text)
    if operation is Operation.REPLACE and of not in REPLACEABLE:
        report.warning(place, reasons.NO_EFFECT, text)
    if of is ApplyTo.BOOTSTRAP and operation is not Operation.MERGE:
        report.warning(place, reasons.NO_EFFECT, text)
    has_class = patch.filter_class is not FilterClass.UNSPECIFIED
    if has_class and (of is not ApplyTo.HTTP_FILTER or operation not in _ADDING):
        text = "only an added HTTP_FILTER has a class"
        report.warning((path, "filterClass"), reasons.NO_EFFECT, text)
