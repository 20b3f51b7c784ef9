from services.agent import metrics
from services.agent.counting.counters import Counters

WEB, DB = (("source_app", "web"),), (("source_app", "db"),)


def test_sums_by_metric_and_labels_as_prometheus_reads_them() -> None:
    counters = Counters()
    for name, labels, amount in (("b", WEB, 1), ("a", WEB, 2), ("b", DB, 4), ("b", WEB, 8)):
        counters.add(name, labels, amount)
    assert counters.text().splitlines() == [
        "# TYPE istio_a counter",
        'istio_a{source_app="web"} 2',
        "# TYPE istio_b counter",
        'istio_b{source_app="db"} 4',
        'istio_b{source_app="web"} 9',
    ]


def test_values_cannot_leave_their_place() -> None:
    counters = Counters()
    counters.add("a", (("my.label", '"} 1\nx\\'),), 1)
    assert counters.text().splitlines()[1:] == [r'istio_a{my_label="\"} 1\nx\\"} 1']


def test_series_that_moved_long_ago_give_way() -> None:
    before = metrics.TCP_SERIES_FORGOTTEN._value.get()
    counters = Counters(limit=2)
    counters.add("a", WEB, 1)
    counters.add("a", DB, 1)
    counters.add("a", WEB, 1)
    counters.add("a", (), 5)
    assert counters.text().splitlines()[1:] == ['istio_a{source_app="web"} 2', "istio_a{} 5"]
    assert metrics.TCP_SERIES_FORGOTTEN._value.get() == before + 1
