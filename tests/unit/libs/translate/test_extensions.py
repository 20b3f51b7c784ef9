"""WasmPlugins and TrafficExtensions as rows."""

import pytest
import yaml

from libs.api.problem import Severity
from libs.model.extensions import Extension, Failure, Phase, Pull, Traffic
from libs.model.mesh import Table
from libs.model.settings import MeshSettings
from libs.translate.apply import Upsert, apply, initial
from tests.support.patches import decoded

PLUGIN = """
apiVersion: extensions.istio.io/v1alpha1
kind: WasmPlugin
metadata: {name: m, namespace: shop}
spec: {%s}
"""
EXTENSION = """
apiVersion: extensions.istio.io/v1alpha1
kind: TrafficExtension
metadata: {name: m, namespace: shop}
spec: {%s}
"""
HTTPS = 'url: "https://example.com/m.wasm"'


def translated(text: str) -> tuple[Extension | None, list[tuple[str, str]]]:
    step = apply(initial(MeshSettings()), [Upsert(decoded(yaml.safe_load(text)))])
    rows = list(step.state.mesh.rows(Table.EXTENSION).values())
    row = rows[0] if rows else None
    assert row is None or isinstance(row, Extension)
    return row, [(problem.path, problem.severity) for problem in step.problems]


# proves: WasmPlugin spec.sha256, spec.priority, spec.pluginName, spec.vmConfig.env[].name
# proves: WasmPlugin spec.vmConfig.env[].value, spec.vmConfig.env[].valueFrom
# proves: WasmPlugin spec.match[].ports[].number
def test_all_fields_of_a_plugin_arrive() -> None:
    row, problems = translated(
        PLUGIN
        % f"""{HTTPS}, sha256: {"a" * 64}, phase: AUTHZ, priority: -3, pluginName: root,
        pluginConfig: {{b: 1, a: [x]}}, failStrategy: FAIL_OPEN,
        vmConfig: {{env: [{{name: B, value: "2"}}, {{name: A, valueFrom: HOST}}]}},
        match: [{{mode: SERVER, ports: [{{number: 9}}, {{number: 8}}]}}, {{mode: CLIENT}}]"""
    )
    assert problems == []
    assert row is not None
    assert row.module is not None
    assert (row.phase, row.priority) == (Phase.AUTHZ, -3)
    assert row.traffic == (Traffic(client=False, ports=(8, 9)), Traffic(server=False))
    module = row.module
    assert (module.url, module.sha256) == ("https://example.com/m.wasm", "a" * 64)
    assert (module.name, module.failure) == ("root", Failure.OPEN)
    assert module.config == b'{"a":["x"],"b":1}'
    assert (module.environment, module.host_environment) == ({"B": "2"}, ("A",))


# proves: TrafficExtension spec.lua.inlineCode
def test_a_script_is_an_extension_like_any_other() -> None:
    row, problems = translated(EXTENSION % "phase: STATS, lua: {inlineCode: x}")
    assert problems == []
    assert row is not None
    assert (row.lua, row.module, row.phase) == ("x", None, Phase.STATS)


def test_what_could_never_be_had_gives_no_row_and_says_so() -> None:
    for field, place in (
        ("url: registry.example.com/M:v1", "url"),
        ('url: "oci://registry.example.com/m@md5:a"', "url"),
        ("url: team/m:v1", "url"),
        ('url: "oci://m:v1"', "url"),
        (f"{HTTPS}, verificationKey: k", "verificationKey"),
    ):
        assert translated(PLUGIN % field) == (None, [(f"spec.{place}", Severity.ERROR)])
        wasm = EXTENSION % f"wasm: {{{field}}}"
        assert translated(wasm) == (None, [(f"spec.wasm.{place}", Severity.ERROR)])


# proves: WasmPlugin spec.type
# proves: TrafficExtension spec.wasm.type
def test_a_module_says_whether_it_filters_requests_or_connections() -> None:
    for written, connections in (("", False), (", type: HTTP", False), (", type: NETWORK", True)):
        for text in (PLUGIN % (HTTPS + written), EXTENSION % f"wasm: {{{HTTPS}{written}}}"):
            row, problems = translated(text)
            assert problems == []
            assert row is not None
            assert row.module is not None
            assert row.module.connections is connections


def test_a_secret_for_what_is_no_registry_has_no_effect_and_the_rest_goes_on() -> None:
    row, problems = translated(PLUGIN % f"{HTTPS}, imagePullSecret: s")
    assert row is not None
    assert row.module is not None
    assert row.module.pull_secret == ""
    assert problems == [("spec.imagePullSecret", Severity.WARNING)]


# proves: WasmPlugin spec.imagePullPolicy, spec.imagePullSecret, spec.url
# proves: TrafficExtension spec.wasm.imagePullPolicy, spec.wasm.imagePullSecret
@pytest.mark.parametrize(
    ("written", "url", "pull"),
    [
        ("url: r.io/m:v1", "oci://r.io/m:v1", Pull.ONCE),
        ("url: r.io/m", "oci://r.io/m", Pull.EACH_TIME),
        ("url: r.io/m:latest", "oci://r.io/m:latest", Pull.EACH_TIME),
        ('url: "oci://r.io/m:v1", imagePullPolicy: Always', "oci://r.io/m:v1", Pull.EACH_TIME),
        ("url: r.io/m, imagePullPolicy: IfNotPresent", "oci://r.io/m", Pull.ONCE),
        (HTTPS, "https://example.com/m.wasm", Pull.EACH_TIME),
        (f"{HTTPS}, imagePullPolicy: IfNotPresent", "https://example.com/m.wasm", Pull.ONCE),
    ],
)
def test_modules_of_registries(written: str, url: str, pull: Pull) -> None:
    for text in (PLUGIN % written, EXTENSION % f"wasm: {{{written}}}"):
        row, problems = translated(text.replace("name: m,", "name: m, generation: 7,"))
        assert problems == []
        assert row is not None
        assert row.module is not None
        assert (row.module.url, row.module.pull) == (url, pull)
        assert row.module.generation == (7 if pull is Pull.EACH_TIME else 0)


def test_the_secret_of_a_module_is_of_its_own_namespace() -> None:
    row, problems = translated(PLUGIN % "url: r.io/m:v1, imagePullSecret: mine")
    assert problems == []
    assert row is not None
    assert row.module is not None
    assert row.module.pull_secret == "shop/mine"  # noqa: S105 - its name
