"""Rules of a WasmPlugin."""

from libs.api.extensions.wasm_plugin import WasmPlugin
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.labels import check_selector
from libs.api.validate.targets import check_attachment
from libs.api.validate.wasm import check_module, check_traffic

SPEC: Path = (None, "spec")


def check(resource: WasmPlugin, report: Report) -> None:
    """Report what is wrong with a WasmPlugin."""
    spec = resource.spec
    check_attachment(spec.selector, spec.target_ref, spec.target_refs, report=report)
    check_selector(spec.selector, (SPEC, "selector"), report)
    check_module(spec, SPEC, report)
    check_traffic(spec.match, (SPEC, "match"), report)
