"""What a tag is made of."""

import pytest

from libs.inject import tags, webhooks
from libs.inject.tags import Tag
from libs.inject.webhooks import Target

OWN = webhooks.configuration(Target(revision="canary", service="seine-webhook"), "Um9vdHM=")
CLIENT = OWN["webhooks"][0]["clientConfig"]
TAG = Tag(name="prod", revision="canary", client=CLIENT)


def test_the_role_comes_first_and_lets_the_webhook_write_this_one_object() -> None:
    role, binding, made = tags.objects(TAG)
    (rule,) = role["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == ([made["metadata"]["name"]], ["patch"])
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["namespace"], subject["name"]) == ("istio-system", "seine-webhook")


def test_namespaces_ask_by_the_tag_and_are_sent_to_the_revision() -> None:
    made = tags.objects(TAG)[-1]
    assert made["metadata"]["labels"] == {
        "app": "sidecar-injector",
        "istio.io/rev": "canary",
        "istio.io/tag": "prod",
    }
    assert {str(it["clientConfig"]) for it in made["webhooks"]} == {str(CLIENT)}
    for labels, asked in (({"istio.io/rev": "prod"}, True), ({"istio.io/rev": "canary"}, False)):
        found = webhooks.matches([made], namespace="a", namespace_labels=labels, pod_labels={})
        assert any(it.asked for it in found) is asked


def test_the_tag_default_is_for_namespaces_that_name_no_revision() -> None:
    made = tags.objects(Tag(name="default", revision="canary", client=CLIENT))[-1]
    enabled = {"istio-injection": "enabled"}
    found = webhooks.matches([made], namespace="a", namespace_labels=enabled, pod_labels={})
    assert [it.revision for it in found if it.asked] == ["default"]


def test_an_injector_at_a_url_gets_no_role() -> None:
    made = tags.objects(Tag(name="prod", revision="far", client={"url": "https://far.example"}))
    assert [it["kind"] for it in made] == [webhooks.KIND]


def test_another_control_plane_s_tag_has_another_name() -> None:
    assert tags.configuration_name("prod", "istio-system") == "istio-revision-tag-prod"
    assert tags.configuration_name("prod", "other") == "istio-revision-tag-prod-other"


@pytest.mark.parametrize("name", ["", "Prod", "a.b", "-a", "a" * 41, "a/b", "a\n"])
def test_names_that_no_tag_has(name: str) -> None:
    assert tags.wrong_name(name)


def test_a_revision_s_own_configuration_is_found_and_no_tag_s() -> None:
    made = tags.objects(TAG)[-1]
    other = {"metadata": {"name": "x", "labels": {"istio.io/rev": "canary"}}, "webhooks": []}
    assert tags.own_configuration([other, made, OWN], "canary") == OWN
    assert tags.own_configuration([other, made, OWN], "prod") is None


def test_all_revisions_have_one_account() -> None:
    service = {"name": "seine-webhook-canary", "namespace": "istio-system"}
    tag = Tag(name="prod", revision="canary", client={"service": service})
    _, binding, made = tags.objects(tag)
    assert [one["name"] for one in binding["subjects"]] == ["seine-webhook"]
    assert made["webhooks"][0]["clientConfig"]["service"] == service
