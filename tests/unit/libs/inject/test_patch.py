"""The difference of two documents, applied by somebody else's implementation, is the second one."""

import json
from copy import deepcopy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.inject.patch import difference
from tests.support.pods import pod, result

KEYS = st.sampled_from(["a", "b", "a/b", "~", "~1", "", "name", "0"])
SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "1", "true"])
DATA = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)
NAMED = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from("abcdef"), "x": SCALARS}), max_size=6
)


def _same(first: Any, second: Any) -> bool:  # noqa: ANN401
    """Equal, with true apart from 1."""
    return json.dumps(first, sort_keys=True) == json.dumps(second, sort_keys=True)


@given(st.dictionaries(KEYS, DATA), st.dictionaries(KEYS, DATA))
def test_whatever_the_documents_are(before: dict[str, Any], after: dict[str, Any]) -> None:
    kept = deepcopy((before, after))
    done = jsonpatch.apply_patch(before, difference(before, after))
    assert _same(done, after)
    assert (before, after) == kept


@given(NAMED, NAMED)
def test_lists_of_named_entries(before: list[Any], after: list[Any]) -> None:
    first, second = {"list": before}, {"list": after}
    assert _same(jsonpatch.apply_patch(first, difference(first, second)), second)


@given(NAMED)
def test_equal_documents_need_nothing(before: list[Any]) -> None:
    assert difference({"list": before}, {"list": deepcopy(before)}) == []


def test_one_is_not_true() -> None:
    assert difference({"a": 1}, {"a": True}) == [{"op": "replace", "path": "/a", "value": True}]
    assert difference({"a": [1]}, {"a": [True]}) != []


@pytest.mark.parametrize("native", [True, False])
def test_what_the_pod_had_is_not_sent_back(native: bool) -> None:
    text = "x" * 50_000
    given_pod = pod(
        {"name": "app", "image": "a", "env": [{"name": "BIG", "value": text}]},
        initContainers=[{"name": "setup", "image": text}],
        volumes=[{"name": "data", "emptyDir": {}}],
    )
    operations = difference(given_pod, result(given_pod, native=native))
    assert text not in repr(operations)
    assert {one["op"] for one in operations} == {"add"}
