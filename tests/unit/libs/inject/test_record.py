"""An injection can be taken out again by what it noted about itself."""

import json
from typing import Any

import pytest

from libs.inject import record
from tests.support.pods import pod, result

STATUS = "sidecar.istio.io/status"


def _probed() -> dict[str, Any]:
    return pod(
        {
            "name": "app",
            "readinessProbe": {"httpGet": {"path": "/x", "port": 8080}, "periodSeconds": 3},
            "livenessProbe": {"grpc": {"port": 9000}},
            "lifecycle": {"preStop": {"httpGet": {"port": 8080}}},
        },
        {"name": "istio-proxy", "image": "auto", "tty": True},
        annotations={"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
        initContainers=[{"name": "setup"}],
        volumes=[{"name": "data", "emptyDir": {}}],
        imagePullSecrets=[{"name": "own"}],
    )


@pytest.mark.parametrize("native", [True, False])
def test_what_was_injected_is_the_pod_that_it_was(native: bool) -> None:
    given = _probed()
    back = record.original(result(given, native=native))
    assert back["spec"] == given["spec"]
    said = back["metadata"]["annotations"]
    assert {name: said[name] for name in given["metadata"]["annotations"]} == (
        given["metadata"]["annotations"]
    )
    assert STATUS not in said


def test_a_pod_without_notes_is_left_as_it_is() -> None:
    assert record.original(_probed()) == _probed()
    assert not record.is_injected(_probed())
    assert record.is_injected(result(_probed()))


def test_only_what_an_injector_adds_is_taken_out() -> None:
    made_up = {"containers": ["app", "istio-proxy"], "volumes": ["data"]}
    given = pod({"name": "app"}, {"name": "istio-proxy"}, annotations={STATUS: json.dumps(made_up)})
    back = record.original(given)
    assert [one["name"] for one in back["spec"]["containers"]] == ["app"]


def test_overrides_that_cannot_be_read_are_nobody_s() -> None:
    made = result(_probed())
    made["metadata"]["annotations"]["proxy.istio.io/overrides"] = "[" * 5000
    back = record.original(made)
    assert [one["name"] for one in back["spec"]["containers"]] == ["app"]
