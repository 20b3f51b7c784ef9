"""Pieces of pods are merged as Kubernetes does it."""

from copy import deepcopy

from libs.inject.merge import merged


def test_named_entries_are_merged_and_new_ones_come_last() -> None:
    below = {"containers": [{"name": "a", "image": "x"}, {"name": "b"}]}
    above = {"containers": [{"name": "c"}, {"name": "a", "tty": True}]}
    kept = deepcopy((below, above))
    assert merged(below, above) == {
        "containers": [{"name": "a", "image": "x", "tty": True}, {"name": "b"}, {"name": "c"}]
    }
    assert (below, above) == kept


def test_lists_without_names_are_replaced() -> None:
    assert merged({"args": ["a", "b"]}, {"args": ["c"]}) == {"args": ["c"]}
    assert merged({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}) == {
        "tolerations": [{"key": "b"}]
    }


def test_ports_are_known_by_number_and_protocol() -> None:
    below = {"ports": [{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]}
    above = {"ports": [{"containerPort": 53, "protocol": "TCP", "name": "dns"}]}
    assert merged(below, above)["ports"] == [
        {"containerPort": 53, "protocol": "TCP", "name": "dns"},
        {"containerPort": 53, "protocol": "UDP"},
    ]


def test_mounts_are_known_by_where_they_are() -> None:
    below = {"volumeMounts": [{"name": "a", "mountPath": "/x"}, {"name": "a", "mountPath": "/y"}]}
    above = {"volumeMounts": [{"name": "b", "mountPath": "/x"}]}
    assert merged(below, above)["volumeMounts"] == [
        {"name": "b", "mountPath": "/x"},
        {"name": "a", "mountPath": "/y"},
    ]


def test_a_variable_has_a_value_or_a_source() -> None:
    below = {"env": [{"name": "A", "valueFrom": {"fieldRef": {}}}, {"name": "B", "value": "1"}]}
    above = {"env": [{"name": "A", "value": "2"}, {"name": "B", "valueFrom": {"x": {}}}]}
    assert merged(below, above)["env"] == [
        {"name": "A", "value": "2"},
        {"name": "B", "valueFrom": {"x": {}}},
    ]


def test_null_takes_away() -> None:
    assert merged({"a": 1, "b": {"c": 2, "d": 3}}, {"a": None, "b": {"c": None}}) == {"b": {"d": 3}}
