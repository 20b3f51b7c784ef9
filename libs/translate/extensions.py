"""Extensions: one row for each WasmPlugin and TrafficExtension, which are told apart no further."""

import msgspec

from libs.api import reasons
from libs.api.extensions import wasm
from libs.api.extensions.traffic_extension import TrafficExtension, WasmConfig
from libs.api.extensions.wasm_plugin import WasmPlugin, WasmPluginSpec
from libs.api.problem import Problem, Severity
from libs.model.extensions import Extension, Failure, Module, Phase, Pull, Traffic
from libs.model.images import parse_image
from libs.model.mesh import Key, Table
from libs.translate.attachments import attached
from libs.translate.state import Derived
from libs.translate.view import View

_IMAGE = "oci://"


def of_plugin(_: View, resource: WasmPlugin) -> Derived:
    """Return the row of a WasmPlugin."""
    spec = resource.spec
    made = _extension(resource, _phase(spec.phase.value), lua="", module=_module(resource, spec))
    return _derived(resource, made, _module_problems(resource, spec, "spec"))


def of_extension(_: View, resource: TrafficExtension) -> Derived:
    """Return the row of a TrafficExtension."""
    spec = resource.spec
    made = _extension(
        resource,
        _phase(spec.phase.value),
        lua=spec.lua.inline_code if spec.lua else "",
        module=_module(resource, spec.wasm) if spec.wasm else None,
    )
    problems = _module_problems(resource, spec.wasm, "spec.wasm") if spec.wasm else []
    return _derived(resource, made, problems)


def _derived(
    resource: WasmPlugin | TrafficExtension, made: Extension, problems: list[Problem]
) -> Derived:
    single = resource.spec.target_ref if isinstance(resource, WasmPlugin) else None
    to = attached(resource.ref, single, resource.spec.target_refs)
    found = (*to.problems, *problems)
    if to.targets is None or any(problem.severity is Severity.ERROR for problem in problems):
        return Derived(problems=found)
    row = msgspec.structs.replace(made, targets=to.targets)
    return Derived(rows=((Key(Table.EXTENSION, row.ref), row),), problems=found)


def _extension(
    resource: WasmPlugin | TrafficExtension, phase: Phase, *, lua: str, module: Module | None
) -> Extension:
    metadata, spec = resource.metadata, resource.spec
    return Extension(
        ref=resource.ref,
        namespace=metadata.namespace,
        name=metadata.name,
        created=metadata.creation_timestamp or 0,
        selector=spec.selector.match_labels if spec.selector else {},
        phase=phase,
        priority=spec.priority or 0,
        traffic=tuple(map(_traffic, spec.match)),
        lua=lua,
        module=module,
    )


def _phase(written: str) -> Phase:
    return Phase(written) if written in set(Phase) else Phase.UNSPECIFIED


def _traffic(written: wasm.TrafficSelector) -> Traffic:
    mode = written.mode
    return Traffic(
        client=mode is not wasm.WorkloadMode.SERVER,
        server=mode is not wasm.WorkloadMode.CLIENT,
        ports=tuple(sorted(port.number for port in written.ports)),
    )


def _module(resource: WasmPlugin | TrafficExtension, spec: WasmPluginSpec | WasmConfig) -> Module:
    metadata, pull, url = resource.metadata, _pull(spec), _with_scheme(spec.url)
    secret = spec.image_pull_secret if url.startswith(_IMAGE) else None
    env = spec.vm_config.env if spec.vm_config else ()
    hosted = {it.name for it in env if it.value_from is wasm.ValueSource.HOST}
    config = spec.plugin_config
    return Module(
        url=url,
        connections=spec.type is wasm.PluginType.NETWORK,
        sha256=spec.sha256.lower(),
        name=spec.plugin_name or "",
        config=b"" if config is None else msgspec.json.encode(config, order="deterministic"),
        failure=Failure(spec.fail_strategy.value),
        environment={it.name: it.value or "" for it in env if it.name not in hosted},
        host_environment=tuple(sorted(hosted)),
        pull=pull,
        generation=metadata.generation if pull is Pull.EACH_TIME and not spec.sha256 else 0,
        pull_secret=f"{metadata.namespace}/{secret}" if secret else "",
    )


def _pull(spec: WasmPluginSpec | WasmConfig) -> Pull:
    """Return what the policy means. Without one, as in Istio, tags stay what they were first."""
    if spec.image_pull_policy is not wasm.PullPolicy.UNSPECIFIED_POLICY:
        return Pull(spec.image_pull_policy.value)
    url = _with_scheme(spec.url)
    if not url.startswith(_IMAGE):
        return Pull.EACH_TIME
    try:
        return Pull.EACH_TIME if parse_image(url).moves else Pull.ONCE
    except ValueError:
        return Pull.ONCE  # a module that could never be had; `_module_problems` says so


def _with_scheme(url: str) -> str:
    """A name without a scheme is that of an image in a registry."""
    scheme, colon, rest = url.partition("://")
    return f"{scheme.lower()}{colon}{rest}" if colon else f"{_IMAGE}{url}"


def _module_problems(
    resource: WasmPlugin | TrafficExtension, spec: WasmPluginSpec | WasmConfig, place: str
) -> list[Problem]:
    """Return what is asked for in vain; an error where the module could not be had at all."""
    found = []
    url = _with_scheme(spec.url)
    if url.startswith(_IMAGE):
        try:
            parse_image(url)
        except ValueError as error:
            text = f"{error}: this one has no effect"
            found.append(Problem(resource.ref, f"{place}.url", reasons.INVALID_URL, text))
    if spec.verification_key:
        text = "signatures of modules are not verified yet; sha256 is"
        found.append(_problem(resource, f"{place}.verificationKey", text))
    if spec.image_pull_secret and not url.startswith(_IMAGE):
        text = "has no effect: only registries of images ask for it"
        found.append(_warning(resource, f"{place}.imagePullSecret", text))
    return found


def _problem(resource: WasmPlugin | TrafficExtension, path: str, text: str) -> Problem:
    return Problem(resource.ref, path, reasons.UNSUPPORTED_FIELD, text)


def _warning(resource: WasmPlugin | TrafficExtension, path: str, text: str) -> Problem:
    return Problem(resource.ref, path, reasons.UNSUPPORTED_FIELD, text, Severity.WARNING)
