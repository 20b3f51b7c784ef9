"""The injector's ConfigMap: what it says, and what of it cannot be used."""

from libs.api.kubernetes import ConfigMap
from libs.api.problem import Severity
from libs.api.resource import Metadata
from libs.inject.config import Policy, config_map_name, read


def _read(config: str = "", values: str = ""):  # noqa: ANN202 - as it is read
    data = {"config": config, "values": values}
    return read(ConfigMap(Metadata("istio-sidecar-injector", "istio-system"), data))


def test_istio_s_own_texts_are_understood() -> None:
    config = """
policy: disabled
neverInjectSelector: [{matchExpressions: [{key: job, operator: Exists}]}]
injectedAnnotations: {team: mesh}
defaultTemplates: [sidecar]
aliases: {both: [sidecar, x]}
templates: {x: "spec: {containers: [{name: istio-proxy}]}"}
unknown: {is: ignored}
"""
    values = """{"global": {"hub": "h", "proxy": {"includeIPRanges": "10.0.0.0/8"}},
      "sidecarInjectorWebhook": {"rewriteAppHTTPProbe": false}, "revision": ""}"""
    found, problems = _read(config, values)
    assert problems == []
    assert found.policy is Policy.DISABLED
    assert found.never[0].match_expressions[0].key == "job"
    assert found.aliases == {"both": ("sidecar", "x")}
    assert list(found.templates) == ["x"]
    assert found.values.global_.proxy.include_ip_ranges == "10.0.0.0/8"
    assert not found.values.sidecar_injector_webhook.rewrite_app_http_probe


def test_a_template_of_go_is_named_and_the_built_in_one_stays() -> None:
    found, problems = _read("templates: {sidecar: '{{ if .X }}a: 1{{ end }}', x: 'a: 1'}")
    assert list(found.templates) == ["x"]
    (problem,) = problems
    assert problem.path == "data.config.templates.sidecar"
    assert "if .X" in problem.text
    assert problem.severity is Severity.WARNING
    assert found.refused == {}


def test_another_template_of_go_is_an_error_and_says_what_to_write() -> None:
    found, problems = _read("templates: {mine: '{{ if .X }}a: 1{{ end }}', x: 'a: 1'}")
    assert list(found.templates) == ["x"]
    (problem,) = problems
    assert problem.severity is Severity.ERROR
    assert "$when" in problem.text
    assert found.refused == {"mine": problem.text}


def test_what_cannot_be_read_leaves_the_defaults() -> None:
    found, problems = _read("policy: perhaps", "{")
    assert found.policy is Policy.ENABLED
    assert {one.path for one in problems} == {"data.config.policy", "data.values"}
    assert _read("[", "[" * 100_000)[1]


def test_each_revision_has_its_own() -> None:
    assert config_map_name("default") == "istio-sidecar-injector"
    assert config_map_name("canary") == "istio-sidecar-injector-canary"
