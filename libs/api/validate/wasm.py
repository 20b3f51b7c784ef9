"""Rules about modules of WebAssembly, and about the traffic that extensions see."""

import re
from collections.abc import Sequence

from libs.api import reasons
from libs.api.extensions.traffic_extension import WasmConfig
from libs.api.extensions.wasm import TrafficSelector, ValueSource, VmConfig
from libs.api.extensions.wasm_plugin import WasmPluginSpec
from libs.api.path import Path
from libs.api.report import Report
from libs.api.validate.urls import wrong_reference

SCHEMES = frozenset({"file", "http", "https", "oci"})
_SHA256 = re.compile(r"[a-f0-9]{64}")


def check_module(module: WasmPluginSpec | WasmConfig, path: Path, report: Report) -> None:
    """Report a module that cannot be fetched, or that would get odd variables."""
    if wrong := wrong_reference(module.url, SCHEMES):
        report.error((path, "url"), reasons.INVALID_URL, wrong)
    if module.sha256 and not _SHA256.fullmatch(module.sha256):
        text = "must be 64 digits of lower-case hexadecimal"
        report.error((path, "sha256"), reasons.INVALID_VALUE, text)
    if module.verification_key:
        text = "Istio has this field, but never does anything with it; use sha256"
        report.warning((path, "verificationKey"), reasons.NO_EFFECT, text)
    if module.vm_config:
        _check_variables(module.vm_config, ((path, "vmConfig"), "env"), report)


def check_traffic(match: Sequence[TrafficSelector], path: Path, report: Report) -> None:
    """Report ports that an entry, of the list at `path`, names twice."""
    for index, entry in enumerate(match):
        numbers: set[int] = set()
        for at, port in enumerate(entry.ports):
            if port.number in numbers:
                text = f"the port {port.number} is there twice"
                report.error((((path, index), "ports"), at), reasons.DUPLICATE_PORT, text)
            numbers.add(port.number)


def _check_variables(config: VmConfig, path: Path, report: Report) -> None:
    names: set[str] = set()
    for index, variable in enumerate(config.env):
        place = (path, index)
        if variable.name in names:
            text = f"the variable {variable.name[:100]!r} is there twice"
            report.error((place, "name"), reasons.DUPLICATE_KEY, text)
        names.add(variable.name)
        if variable.value_from is ValueSource.HOST and variable.value is not None:
            text = "the value comes from the proxy's own environment, so none may be set"
            report.error((place, "value"), reasons.CONFLICTING_FIELDS, text)
