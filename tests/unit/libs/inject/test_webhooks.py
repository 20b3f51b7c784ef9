"""About which pods an API server asks: Istio's matrix of labels, by the configuration we write."""

import itertools

import pytest

from libs.inject.webhooks import Target, both_labels, configuration, matches

INJECT, REV, SWITCH = "sidecar.istio.io/inject", "istio.io/rev", "istio-injection"


def _asked(
    namespace: dict[str, str],
    pod: dict[str, str],
    *,
    name: str = "shop",
    target: Target | None = None,
) -> str:
    """Return the webhook that is asked, or nothing."""
    found = matches(
        [configuration(target or Target())],
        namespace=name,
        namespace_labels=namespace,
        pod_labels=pod,
    )
    asked = [one.webhook for one in found if one.asked]
    assert len(asked) <= 1, "a pod would be injected twice"
    return asked[0].removesuffix("sidecar-injector.istio.io").rstrip(".") if asked else ""


@pytest.mark.parametrize(
    ("namespace", "pod", "asked"),
    [
        ({}, {}, ""),
        ({}, {INJECT: "true"}, "object"),
        ({}, {INJECT: "false"}, ""),
        ({}, {REV: "default"}, "rev.object"),
        ({}, {REV: "default", INJECT: "false"}, ""),
        ({}, {REV: "canary"}, ""),
        ({}, {REV: "canary", INJECT: "true"}, ""),
        ({SWITCH: "enabled"}, {}, "namespace"),
        ({SWITCH: "enabled"}, {INJECT: "true"}, "namespace"),
        ({SWITCH: "enabled"}, {INJECT: "false"}, ""),
        ({SWITCH: "enabled"}, {REV: "canary"}, "namespace"),
        ({SWITCH: "disabled"}, {}, ""),
        ({SWITCH: "disabled"}, {INJECT: "true"}, ""),
        ({SWITCH: "disabled"}, {REV: "default"}, ""),
        ({REV: "default"}, {}, "rev.namespace"),
        ({REV: "default"}, {INJECT: "false"}, ""),
        ({REV: "canary"}, {}, ""),
        ({REV: "canary"}, {INJECT: "true"}, ""),
        ({REV: "canary", SWITCH: "enabled"}, {}, "namespace"),
        ({REV: "default", SWITCH: "disabled"}, {}, ""),
    ],
)
def test_the_default_revision(namespace: dict[str, str], pod: dict[str, str], asked: str) -> None:
    assert _asked(namespace, pod) == asked


@pytest.mark.parametrize(
    ("namespace", "pod", "asked"),
    [
        ({}, {}, ""),
        ({}, {INJECT: "true"}, ""),
        ({SWITCH: "enabled"}, {}, ""),
        ({REV: "canary"}, {}, "rev.namespace"),
        ({REV: "canary"}, {INJECT: "false"}, ""),
        ({REV: "default"}, {}, ""),
        ({REV: "canary", SWITCH: "enabled"}, {}, ""),
        ({}, {REV: "canary"}, "rev.object"),
    ],
)
def test_another_revision(namespace: dict[str, str], pod: dict[str, str], asked: str) -> None:
    assert _asked(namespace, pod, target=Target(revision="canary")) == asked


def test_a_tag_is_asked_for_by_its_own_name() -> None:
    target = Target(revision="1-2", tag="prod")
    assert configuration(target)["metadata"]["name"] == "istio-revision-tag-prod"
    assert _asked({REV: "prod"}, {}, target=target) == "rev.namespace"
    assert _asked({REV: "1-2"}, {}, target=target) == ""


def test_namespaces_without_labels_are_asked_about_only_if_that_is_wanted() -> None:
    target = Target(namespaces_by_default=True)
    assert _asked({}, {}, target=target) == "auto"
    assert _asked({}, {INJECT: "false"}, target=target) == ""
    assert _asked({SWITCH: "disabled"}, {}, target=target) == ""
    assert _asked({}, {}, target=target, name="kube-system") == ""


@pytest.mark.parametrize("name", ["kube-system", "kube-public", "kube-node-lease"])
def test_nothing_that_a_cluster_runs_on_can_be_held_up(name: str) -> None:
    target = Target(namespaces_by_default=True)
    switches = [{}, {SWITCH: "enabled"}, {REV: "default"}]
    wishes = [{}, {INJECT: "true"}, {REV: "default"}]
    for labels, pod in itertools.product(switches, wishes):
        assert _asked(labels, pod, target=target, name=name) == ""
    assert _asked({SWITCH: "enabled"}, {}, target=target) == "namespace"


def test_the_control_plane_can_come_up_without_itself() -> None:
    target = Target(namespaces_by_default=True)
    for labels in ({}, {SWITCH: "enabled"}, {REV: "default"}):
        for pod in ({}, {"app": "seine-webhook"}, {REV: "default"}):
            assert _asked(labels, pod, target=target, name="istio-system") == ""
    gateway = {INJECT: "true"}
    assert _asked({}, gateway, target=target, name="istio-system") == "object"
    for revision in ("default", "canary"):
        of_it = {INJECT: "true", REV: revision}
        other = Target(revision=revision)
        assert _asked({}, of_it, target=other, name="istio-system") == "rev.gateway"
        assert _asked({}, of_it, target=other) == "rev.object"
        assert _asked({}, {REV: revision}, target=other, name="istio-system") == ""


def test_pods_are_never_let_through_without_being_asked_about() -> None:
    for webhook in configuration(Target())["webhooks"]:
        assert webhook["failurePolicy"] == "Fail"
        assert webhook["sideEffects"] == "None"
        assert webhook["timeoutSeconds"] <= 10
        assert webhook["rules"][0]["operations"] == ["CREATE"]
        assert webhook["rules"][0]["resources"] == ["pods"]


def test_contradicting_labels_are_named_with_what_counts() -> None:
    assert "is injected" in both_labels({SWITCH: "enabled", REV: "canary"})
    assert "is not injected" in both_labels({SWITCH: "disabled", REV: "canary"})
    assert both_labels({SWITCH: "enabled"}) == both_labels({REV: "canary"}) == both_labels({}) == ""


def test_a_selector_that_cannot_be_read_fits_nothing() -> None:
    webhook = {"name": "x", "namespaceSelector": {"matchLabels": 5}, "objectSelector": None}
    (found,) = matches([{"webhooks": [webhook]}], namespace="a", namespace_labels={}, pod_labels={})
    assert (found.namespace_fits, found.pod_fits) == (False, True)
