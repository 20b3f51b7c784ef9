import pytest

from tests.support.rulings import of_traffic_policy


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "{consistentHash: {useSourceIp: true}}",
            "{simple: RANDOM, consistentHash: {useSourceIp: true}}",
            " ConflictingFields",
        ),
        (
            "{consistentHash: {httpHeaderName: a}}",
            "{consistentHash: {httpHeaderName: a, useSourceIp: true}}",
            ".consistentHash ConflictingFields",
        ),
        (
            "{consistentHash: {httpCookie: {name: a, ttl: 0s}}}",
            "{consistentHash: {httpCookie: {name: a, ttl: -1s}}}",
            ".consistentHash.httpCookie.ttl InvalidDuration",
        ),
        (
            "{consistentHash: {httpHeaderName: a}}",
            '{consistentHash: {httpHeaderName: "a\\nb"}}',
            ".consistentHash.httpHeaderName InvalidValue",
        ),
        (
            "{consistentHash: {httpCookie: {name: a, attributes: [{name: b}]}}}",
            '{consistentHash: {httpCookie: {name: a, attributes: [{name: b, value: "c\\0"}]}}}',
            ".consistentHash.httpCookie.attributes[0].value InvalidValue",
        ),
        (
            "{consistentHash: {httpCookie: {name: a}}}",
            "{consistentHash: {httpCookie: {name: ''}}}",
            ".consistentHash.httpCookie.name EmptyValue",
        ),
        (
            "{consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: c}]}}}",
            "{consistentHash: {httpCookie: {name: a, attributes: [{name: b}, {name: b}]}}}",
            ".consistentHash.httpCookie.attributes[1].name DuplicateKey",
        ),
        (
            "{consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 8388608}}}",
            "{consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 8388609}}}",
            ".consistentHash.ringHash.minimumRingSize OutOfRange",
        ),
        (
            "{consistentHash: {useSourceIp: true, maglev: {tableSize: 65537}}}",
            "{consistentHash: {useSourceIp: true, maglev: {tableSize: 65536}}}",
            ".consistentHash.maglev.tableSize OutOfRange",
        ),
        (
            "{consistentHash: {useSourceIp: true, maglev: {tableSize: 4999999}}}",
            "{consistentHash: {useSourceIp: true, maglev: {tableSize: 5000011}}}",
            ".consistentHash.maglev.tableSize OutOfRange",
        ),
        (
            "{consistentHash: {useSourceIp: true, maglev: {tableSize: 2}}}",
            "{consistentHash: {useSourceIp: true, maglev: {}}}",
            ".consistentHash.maglev.tableSize OutOfRange",
        ),
        (
            "{consistentHash: {useSourceIp: true, ringHash: {minimumRingSize: 1}}}",
            "{consistentHash: {useSourceIp: true, ringHash: {}, maglev: {tableSize: 3}}}",
            ".consistentHash ConflictingFields",
        ),
        (
            "{localityLbSetting: {}}",
            "{localityLbSetting: {}, zoneAwareLbSetting: {}}",
            " Conflicting",
        ),
        (
            "{warmup: {duration: 1s}}",
            "{warmup: {duration: 0s}}",
            ".warmup.duration InvalidDuration",
        ),
        ("{warmup: {duration: 1s}}", "{warmup: {}}", ".warmup.duration MissingField"),
        (
            "{warmup: {duration: 1s, aggression: 1}}",
            "{warmup: {duration: 1s, aggression: 0}}",
            ".warmup.aggression OutOfRange",
        ),
        (
            "{warmup: {duration: 1s, minimumPercent: 100}}",
            "{warmup: {duration: 1s, minimumPercent: 101}}",
            ".warmup.minimumPercent OutOfRange",
        ),
    ],
)
def test_load_balancing(good: str, bad: str, found: str) -> None:
    assert of_traffic_policy(f"loadBalancer: {good}") == []
    (error,) = of_traffic_policy(f"loadBalancer: {bad}")
    assert error.replace("spec.trafficPolicy.", "").startswith(f"loadBalancer{found}")


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ("{warmupDurationSecs: 1s}", "warmupDurationSecs Deprecated"),
        ("{consistentHash: {}}", "consistentHash NoEffect"),
        (
            "{consistentHash: {useSourceIp: true, minimumRingSize: 1}}",
            "consistentHash.minimumRingSize Deprecated",
        ),
    ],
)
def test_what_is_hardly_meant(fields: str, found: str) -> None:
    assert of_traffic_policy(f"loadBalancer: {fields}") == [f"warning loadBalancer.{found}"]
