"""Rules of a TrafficExtension."""

from libs.api import reasons
from libs.api.extensions.traffic_extension import TrafficExtension
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.labels import check_selector
from libs.api.validate.scripts import check_script
from libs.api.validate.targets import check_attachment
from libs.api.validate.wasm import check_module, check_traffic

SPEC: Path = (None, "spec")


def check(resource: TrafficExtension, report: Report) -> None:
    """Report what is wrong with a TrafficExtension."""
    spec = resource.spec
    check_attachment(spec.selector, None, spec.target_refs, report=report)
    check_selector(spec.selector, (SPEC, "selector"), report)
    if (spec.wasm is None) == (spec.lua is None):
        report.error(SPEC, reasons.CONFLICTING_FIELDS, "needs exactly one of wasm and lua")
    if spec.wasm:
        check_module(spec.wasm, (SPEC, "wasm"), report)
    if spec.lua:
        check_script(spec.lua.inline_code, ((SPEC, "lua"), "inlineCode"), report)
    check_traffic(spec.match, (SPEC, "match"), report)
