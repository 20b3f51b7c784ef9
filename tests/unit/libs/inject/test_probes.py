"""Probes go to the agent in the form that the agent reads, and come back."""

import json
from typing import Any

import pytest

from libs.api.report import Report
from libs.inject import probes
from libs.model.ids import Ref
from services.agent.probes import parse

PORT = 15020
PORTS = [{"name": "http", "containerPort": 8080}, {"name": "grpc", "containerPort": 9000}]


def _rewritten(
    container: dict[str, Any], field: str = "containers"
) -> tuple[Any, probes.Rewritten]:
    report = Report(Ref("Pod/shop/web"))
    given = {field: [{"name": "app", "ports": PORTS, **container}]}
    done = probes.rewritten(given, PORT, report)
    return done.spec[field][0], done


@pytest.mark.parametrize(
    ("probe", "original"),
    [
        (
            {"httpGet": {"path": "/x", "port": 8080}},
            {"httpGet": {"path": "/x", "port": 8080}},
        ),
        ({"httpGet": {"port": "http"}}, {"httpGet": {"port": 8080}}),
        (
            {
                "httpGet": {
                    "path": "/x",
                    "port": "http",
                    "scheme": "HTTPS",
                    "host": "example",
                    "httpHeaders": [{"name": "Host", "value": "a.b"}],
                },
                "timeoutSeconds": 7,
            },
            {
                "httpGet": {
                    "path": "/x",
                    "port": 8080,
                    "scheme": "HTTPS",
                    "host": "example",
                    "httpHeaders": [{"name": "Host", "value": "a.b"}],
                },
                "timeoutSeconds": 7,
            },
        ),
        ({"tcpSocket": {"port": "grpc"}}, {"tcpSocket": {"port": 9000}}),
        ({"tcpSocket": {"port": "8080"}}, {"tcpSocket": {"port": 8080}}),
        (
            {"grpc": {"port": 9000, "service": "s"}},
            {"grpc": {"port": 9000, "service": "s"}},
        ),
    ],
)
def test_the_original_is_kept_for_the_agent(
    probe: dict[str, Any], original: dict[str, Any]
) -> None:
    container, done = _rewritten({"readinessProbe": {**probe, "failureThreshold": 4}})
    path = "/app-health/app/readyz"
    assert container["readinessProbe"]["httpGet"] == {"path": path, "port": PORT}
    assert container["readinessProbe"]["failureThreshold"] == 4
    assert json.loads(done.variable) == {path: original}
    assert parse(done.variable)[path]  # as the agent reads it


def test_each_probe_and_hook_has_its_path() -> None:
    tcp, http = {"tcpSocket": {"port": 1}}, {"httpGet": {"port": 1}}
    _, done = _rewritten(
        {
            "readinessProbe": tcp,
            "livenessProbe": tcp,
            "startupProbe": tcp,
            "lifecycle": {"preStop": http, "postStart": http},
        }
    )
    assert list(done.originals) == [
        "/app-health/app/readyz",
        "/app-health/app/livez",
        "/app-health/app/startupz",
        "/app-lifecycle/app/prestopz",
        "/app-lifecycle/app/poststartz",
    ]


@pytest.mark.parametrize(
    "probe",
    [
        {"exec": {"command": ["true"]}},
        {"httpGet": {"path": "/healthz/ready", "port": PORT}},
        {},
    ],
)
def test_what_needs_no_help_stays(probe: dict[str, Any]) -> None:
    container, done = _rewritten({"livenessProbe": probe})
    assert container["livenessProbe"] == probe
    assert done.variable == ""


def test_a_port_that_nobody_has_is_warned_of() -> None:
    report = Report(Ref("Pod/shop/web"))
    spec = {"containers": [{"name": "app", "livenessProbe": {"httpGet": {"port": "nobody"}}}]}
    assert probes.rewritten(spec, PORT, report).spec == spec
    assert "'nobody'" in report.problems[0].text


def test_commands_in_hooks_stay_beside_requests_that_do_not() -> None:
    hooks = {"preStop": {"exec": {"command": ["a"]}}, "postStart": {"httpGet": {"port": 8080}}}
    container, done = _rewritten({"lifecycle": hooks})
    assert container["lifecycle"]["preStop"] == hooks["preStop"]
    assert container["lifecycle"]["postStart"]["httpGet"]["port"] == PORT
    assert list(done.originals) == ["/app-lifecycle/app/poststartz"]


def test_sidecars_of_the_users_have_probes_too() -> None:
    container, _ = _rewritten({"startupProbe": {"tcpSocket": {"port": 8080}}}, "initContainers")
    assert container["startupProbe"]["httpGet"]["path"] == "/app-health/app/startupz"


def test_the_proxy_s_own_probes_are_nobody_s_business() -> None:
    probe = {"httpGet": {"path": "/healthz/ready", "port": 15021}}
    spec = {"containers": [{"name": "istio-proxy", "readinessProbe": probe}]}
    assert probes.rewritten(spec, PORT, Report(Ref(""))).spec == spec


def test_what_was_rewritten_can_be_put_back() -> None:
    http = {"httpGet": {"path": "/x", "port": 8080}, "periodSeconds": 3}
    given = {"readinessProbe": http, "livenessProbe": {"exec": {}}, "lifecycle": {"preStop": http}}
    _, done = _rewritten(given)
    (back,) = probes.restored(done.spec, done.variable)["containers"]
    assert {key: back[key] for key in given} == given


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '{"/app-health/app/readyz": 5}', "[" * 9999])
def test_originals_that_cannot_be_read_leave_the_pod_as_it_is(text: str) -> None:
    _, done = _rewritten({"readinessProbe": {"httpGet": {"port": 8080}}})
    assert probes.restored(done.spec, text) == done.spec
