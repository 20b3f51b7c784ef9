"""A series has one source: two services that export one name would be counted twice."""

from collections import Counter

from tests.tools import reference


def test_no_two_services_declare_one_metric() -> None:
    lines = reference.metrics().splitlines()
    rows = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert rows
    assert [name for name, times in Counter(rows).items() if times > 1] == []
