import pytest

from tests.support.rulings import manifest, ruling


def of_plugin(fields: str) -> list[str]:
    return ruling(manifest("WasmPlugin", fields))


def of_module(fields: str) -> list[str]:
    """The ruling on a module in either kind, which is the same."""
    plugin = of_plugin(f"{{{fields}}}")
    extension = ruling(manifest("TrafficExtension", f"wasm: {{{fields}}}"))
    assert [line.replace("spec.wasm", "spec") for line in extension] == plugin
    return plugin


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("url: oci://a/b:1", "url: ftp://a", "spec.url InvalidUrl"),
        ("url: a/b", "url: ''", "spec.url OutOfRange"),
        ("url: file:///a", "sha256: ''", "spec.url MissingField"),
        (f"url: a, sha256: {'af' * 32}", f"url: a, sha256: {'AF' * 32}", "spec.sha256 Invalid"),
        (
            "url: a, imagePullSecret: b",
            "url: a, imagePullSecret: ''",
            "spec.imagePullSecret OutOfRange",
        ),
        (
            "url: a, vmConfig: {env: [{name: b, value: c}, {name: d, valueFrom: HOST}]}",
            "url: a, vmConfig: {env: [{name: b}, {name: b}]}",
            "spec.vmConfig.env[1].name DuplicateKey",
        ),
        (
            "url: a, vmConfig: {env: [{name: b, valueFrom: INLINE, value: c}]}",
            "url: a, vmConfig: {env: [{name: b, valueFrom: HOST, value: c}]}",
            "spec.vmConfig.env[0].value ConflictingFields",
        ),
        ("url: a, pluginConfig: {b: [1, {c: x}]}", "url: a, pluginConfig: b", "spec.pluginConfig"),
        ("url: a, sha256: ''", "url: a, verificationKey: b", "warning spec.verificationKey"),
        ("url: a, type: NETWORK", "url: a, type: TCP", "spec.type InvalidChoice"),
    ],
)
def test_modules(good: str, bad: str, found: str) -> None:
    assert of_module(good) == []
    (said,) = of_module(bad)
    assert said.startswith(found)


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "match: [{mode: CLIENT, ports: [{number: 1}, {number: 2}]}]",
            "match: [{ports: [{number: 1}, {number: 1}]}]",
            "spec.match[0].ports[1] DuplicatePort",
        ),
        ("match: [{}]", "match: [{ports: [{number: 0}]}]", "spec.match[0].ports[0].number OutOf"),
        ("phase: AUTHN", "phase: FIRST", "spec.phase InvalidChoice"),
        (
            "selector: {matchLabels: {a: b}}",
            "selector: {matchLabels: {a: '*'}}",
            "spec.selector.matchLabels.a InvalidLabel",
        ),
    ],
)
def test_where_a_plugin_stands(good: str, bad: str, found: str) -> None:
    assert of_plugin(f"url: a\n{good}") == []
    (said,) = of_plugin(f"url: a\n{bad}")
    assert said.startswith(found)
    (same,) = ruling(manifest("TrafficExtension", f"lua: {{inlineCode: a()}}\n{bad}"))
    assert same == said


def test_an_extension_is_a_module_or_a_script() -> None:
    def of_extension(spec: str) -> list[str]:
        return ruling(manifest("TrafficExtension", spec))

    assert of_extension("lua: {inlineCode: a()}") == []
    assert of_extension("lua: {inlineCode: ''}") == ["spec.lua.inlineCode OutOfRange"]
    assert of_extension(f"lua: {{inlineCode: {'a' * 65537}}}") == ["spec.lua.inlineCode OutOfRange"]
    assert of_extension("priority: 1") == ["spec ConflictingFields"]
    assert of_extension("lua: {inlineCode: a()}\nwasm: {url: a}") == ["spec ConflictingFields"]
