import pytest

from tests.support.rulings import manifest, ruling

MANAGER = "envoy.filters.network.http_connection_manager"


def of_match(of: str, match: str) -> list[str]:
    patch = f"{{applyTo: {of}, match: {{{match}}}, patch: {{operation: MERGE, value: {{}}}}}}"
    found = ruling(manifest("EnvoyFilter", f"configPatches: [{patch}]"))
    place = "spec.configPatches[0].match"
    return [line.replace(place, "it") for line in found if "EnvoyInternals" not in line]


def of_filter(of: str, match: str) -> list[str]:
    found = of_match(of, f"listener: {{filterChain: {{filter: {{{match}}}}}}}")
    return [line.replace("it.listener.filterChain.filter", "filter") for line in found]


@pytest.mark.parametrize(
    ("of", "good", "bad", "found"),
    [
        ("LISTENER", "listener: {}", "cluster: {}", "it.cluster ConflictingFields"),
        ("HTTP_FILTER", "listener: {}", "routeConfiguration: {}", "it.routeConfiguration Conf"),
        ("VIRTUAL_HOST", "routeConfiguration: {}", "listener: {}", "it.listener Conflicting"),
        ("CLUSTER", "cluster: {}", "listener: {}", "it.listener ConflictingFields"),
        ("CLUSTER", "cluster: {}", "cluster: {}, listener: {}", "it ConflictingFields"),
        ("CLUSTER", "context: ANY", "context: SIDECAR", "it.context InvalidChoice"),
    ],
)
def test_what_is_looked_for_fits_what_is_patched(of: str, good: str, bad: str, found: str) -> None:
    assert of_match(of, good) == []
    (said,) = of_match(of, bad)
    assert said.startswith(found)


@pytest.mark.parametrize(
    ("of", "bad", "found"),
    [
        ("NETWORK_FILTER", "name: ''", ["filter.name EmptyValue"]),
        ("LISTENER", "name: a", ["warning filter NoEffect"]),
        ("HTTP_FILTER", "name: a, subFilter: {name: b}", ["filter.subFilter ConflictingFields"]),
        ("HTTP_FILTER", f"name: {MANAGER}, subFilter: {{}}", ["filter.subFilter.name EmptyValue"]),
        (
            "NETWORK_FILTER",
            f"name: {MANAGER}, subFilter: {{name: b}}",
            ["filter.subFilter ConflictingFields"],
        ),
        ("NETWORK_FILTER", "name: envoy.tcp_proxy", ["warning filter.name Deprecated"]),
    ],
)
def test_filters_have_names(of: str, bad: str, found: list[str]) -> None:
    assert of_filter("HTTP_FILTER", f"name: {MANAGER}, subFilter: {{name: b}}") == []
    assert of_filter(of, bad) == found
