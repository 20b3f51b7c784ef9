import json

import pytest

from tests.support.rulings import of_traffic_policy

OUTLIERS = "outlierDetection: {interval: 1s}"


def of_setting(fields: str, outliers: str = OUTLIERS) -> list[str]:
    found = of_traffic_policy(f"loadBalancer: {{localityLbSetting: {fields}}}\n{outliers}")
    return [line.replace("loadBalancer.localityLbSetting", "") for line in found]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "{distribute: [{from: a, to: {a: 30, b: 70}}]}",
            "{distribute: [{from: a, to: {a: 30, b: 71}}]}",
            ".distribute[0].to InvalidWeight",
        ),
        (
            "{distribute: [{from: a, to: {b: 100}}]}",
            "{distribute: [{from: a, to: {b: 100, c: 0}}]}",
            ".distribute[0].to InvalidWeight",
        ),
        (
            "{failover: [{from: a, to: b}]}",
            "{failover: [{from: a, to: b}], distribute: [{from: a, to: {b: 100}}]}",
            " ConflictingFields",
        ),
        (
            "{failover: [{from: a, to: b}]}",
            "{failover: [{from: a, to: a}]}",
            ".failover[0] InvalidLoc",
        ),
        (
            "{failover: [{from: a, to: b}]}",
            "{failover: [{from: a, to: b/c}]}",
            ".failover[0].to Inval",
        ),
        (
            "{failover: [{from: a, to: b}]}",
            "{failover: [{from: '*', to: b}]}",
            ".failover[0].from Inv",
        ),
        (
            "{failover: [{from: a, to: b}], failoverPriority: [app]}",
            "{failover: [{from: a, to: b}], failoverPriority: [topology.kubernetes.io/zone]}",
            ".failoverPriority ConflictingFields",
        ),
    ],
)
def test_settings(good: str, bad: str, found: str) -> None:
    assert of_setting(good) == []
    (error,) = of_setting(bad)
    assert error.startswith(found)


@pytest.mark.parametrize("field", ["failover: [{from: a, to: b}]", "failoverPriority: [app]"])
@pytest.mark.parametrize("setting", ["localityLbSetting", "zoneAwareLbSetting"])
def test_what_never_fails_never_fails_over(field: str, setting: str) -> None:
    balancer = f"loadBalancer: {{{setting}: {{{field}}}}}\n"
    assert of_traffic_policy(balancer + OUTLIERS) == []
    assert of_traffic_policy(balancer) == [f"warning loadBalancer.{setting} NoEffect"]


@pytest.mark.parametrize(
    ("localities", "right"),
    [
        (["a", "b"], True),
        (["a/b", "a/c"], True),
        (["a/b/c", "a/b/d"], True),
        (["a/*", "b"], True),
        (["a/b", "*"], True),
        (["a/b", "a/*"], True),
        (["a/b/c", "a/b/*"], True),
        (["*", "a"], False),
        (["a", "a"], False),
        (["a", "a/b"], False),
        (["a/b", "a"], False),
        (["a/*", "a/b"], False),
        (["a/b", "a/b/c"], False),
        (["a/b/c", "a/b/c"], False),
        (["a//c"], False),
        ([""], False),
        (["*/a"], False),
        (["a/*/*"], False),
    ],
)
def test_localities_do_not_overlap(localities: list[str], right: bool) -> None:
    shares = [{"from": locality, "to": {"x": 100}} for locality in localities]
    found = of_setting(json.dumps({"distribute": shares}))
    assert found == ([] if right else [".distribute InvalidLocality"])


@pytest.mark.parametrize("to", ["{'*': 20, us: 80}", "{'us/*': 20, us/a: 80}"])
def test_a_mapping_has_no_order(to: str) -> None:
    assert of_setting(f"{{distribute: [{{from: us, to: {to}}}]}}") == []


def test_zones_know_the_topology() -> None:
    zones = "loadBalancer: {zoneAwareLbSetting: {failoverPriority: [%s]}}\n" + OUTLIERS
    assert of_traffic_policy(zones % "app") == []
    found = of_traffic_policy(zones % "topology.kubernetes.io/region")
    assert found == ["loadBalancer.zoneAwareLbSetting.failoverPriority ConflictingFields"]
