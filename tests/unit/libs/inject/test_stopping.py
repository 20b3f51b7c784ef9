from typing import Any

import pytest

from libs.inject import stopping

OWN = {"istio-proxy"}
SERVES: dict[str, Any] = {"name": "app", "ports": [{"containerPort": 8080}]}
PROBED: dict[str, Any] = {"name": "app", "readinessProbe": {"exec": {"command": ["true"]}}}


def spec(*containers: dict[str, Any], **more: object) -> dict[str, Any]:
    return {"containers": list(containers), **more}


@pytest.mark.parametrize("container", [SERVES, PROBED])
def test_what_takes_calls_sleeps_as_long_as_its_proxy_drains(container: dict[str, Any]) -> None:
    found = stopping.delayed(spec(container), 5.0, OWN)
    assert found.containers == ("app",)
    assert found.spec["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert "lifecycle" not in container


def test_other_hooks_stay() -> None:
    started = {"exec": {"command": ["touch", "/run/up"]}}
    found = stopping.delayed(spec({**SERVES, "lifecycle": {"postStart": started}}), 0.3, OWN)
    hooks = found.spec["containers"][0]["lifecycle"]
    assert hooks == {"postStart": started, "preStop": {"sleep": {"seconds": 1}}}


@pytest.mark.parametrize(
    "container",
    [
        {**SERVES, "lifecycle": {"preStop": {"exec": {"command": ["drain"]}}}},
        {**SERVES, "name": "istio-proxy"},
        {"name": "worker"},
    ],
    ids=["has its own", "is the proxy", "takes no calls"],
)
def test_these_are_told_at_once(container: dict[str, Any]) -> None:
    given = spec(container)
    assert stopping.delayed(given, 5.0, OWN) == stopping.Stopping(given)


@pytest.mark.parametrize(("grace", "drain"), [(9, 5.0), (0, 5.0), (None, 16.0), (30, 0.0)])
def test_a_grace_period_is_not_slept_away(grace: int | None, drain: float) -> None:
    given = spec(SERVES, terminationGracePeriodSeconds=grace)
    assert stopping.delayed(given, drain, OWN).containers == ()


@pytest.mark.parametrize("hooks", [{}, {"postStart": {"exec": {"command": ["true"]}}}])
def test_it_is_undone(hooks: dict[str, Any]) -> None:
    given = spec({**SERVES, "lifecycle": hooks} if hooks else SERVES, {"name": "worker"})
    found = stopping.delayed(given, 5.0, OWN)
    assert found.spec != given
    assert stopping.restored(found.spec, found.containers) == given


def test_what_notes_name_and_somebody_changed_stays() -> None:
    given = spec({**SERVES, "lifecycle": {"preStop": {"exec": {"command": ["drain"]}}}})
    assert stopping.restored(given, ["app", "gone"]) == given
