from typing import Any

import msgspec
import pytest

from libs.api.label_selectors import matches
from libs.api.mesh_parts import LabelSelector

LABELS = {"env": "prod", "team": "a"}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ({}, True),
        ({"matchLabels": {"env": "prod"}}, True),
        ({"matchLabels": {"env": "prod", "team": "b"}}, False),
        ({"matchExpressions": [{"key": "env", "operator": "In", "values": ["prod"]}]}, True),
        ({"matchExpressions": [{"key": "env", "operator": "In", "values": ["test"]}]}, False),
        ({"matchExpressions": [{"key": "x", "operator": "In", "values": [""]}]}, False),
        ({"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["prod"]}]}, False),
        ({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["prod"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "x", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}, False),
        ({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "env", "operator": "Near", "values": ["prod"]}]}, False),
        (
            {
                "matchLabels": {"env": "prod"},
                "matchExpressions": [{"key": "team", "operator": "In", "values": ["b"]}],
            },
            False,
        ),
    ],
)
def test_all_conditions_must_be_met(selector: dict[str, Any], expected: bool) -> None:
    assert matches(msgspec.convert(selector, LabelSelector), LABELS) is expected
