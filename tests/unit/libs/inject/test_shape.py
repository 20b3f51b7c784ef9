"""What has the form of a pod, and what is wrong with what has not."""

import pytest

from libs.inject import shape
from tests.support.pods import pod, result


def test_pods_are_pods_before_and_after() -> None:
    assert shape.wrong(pod()) == ""
    assert shape.wrong(result(pod())) == ""
    assert shape.wrong({"spec": {"containers": None}, "metadata": None}) == ""


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({}, "spec"),
        ({"spec": {"containers": [{"name": 5}]}}, "$.spec.containers[0].name"),
        ({"spec": {"volumes": ["a"]}}, "$.spec.volumes[0]"),
        ({"spec": {}, "metadata": {"labels": {"a": 1}}}, "$.metadata.labels[...]"),
        (5, "object"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(given: object, place: str) -> None:
    assert place in shape.wrong(given)  # type: ignore[arg-type]
