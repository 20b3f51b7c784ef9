import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.api import kubernetes, reasons
from libs.api.decode import decode
from libs.api.networking import destination_rule, virtual_service
from libs.api.registry import KINDS, Kind
from libs.api.report import MAX_PROBLEMS
from libs.api.security.authorization_policy import Action, AuthorizationPolicy
from libs.api.security.peer_authentication import Mode, PeerAuthentication

Raw = dict[str, object]


def routing(spec: object, **metadata: object) -> Raw:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "it", **metadata},
        "spec": spec,
    }


def policy(spec: object, kind: str = "DestinationRule") -> Raw:
    return {**routing(spec), "kind": kind}


def core(kind: str, metadata: object = None, **fields: object) -> Raw:
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata or {"name": "it"}, **fields}


def said(raw: Raw) -> list[tuple[str, str]]:
    resource, problems = decode(raw)
    assert (resource is None) == bool(problems)
    return [(problem.path, problem.reason) for problem in problems]


def text_of(raw: Raw) -> str:
    (problem,) = decode(raw)[1]
    return problem.text


def test_all_problems_come_at_once_each_with_its_path() -> None:
    raw = routing(
        {
            "hosts": "reviews",
            "http": [
                {
                    "match": [{"uri": {"prefx": "/"}, "port": "80"}],
                    "route": [{"destination": {"port": {"number": -1}}, "weight": 1.5}],
                    "timeout": "3d",
                    "retries": {"attempts": True},
                    "corsPolicy": {"unmatchedPreflights": "Ignore"},
                },
                "nothing",
                None,
            ],
            "gatways": ["mesh"],
        }
    )
    assert sorted(said(raw)) == [
        ("spec.gatways", reasons.UNKNOWN_FIELD),
        ("spec.hosts", reasons.WRONG_TYPE),
        ("spec.http[0].corsPolicy.unmatchedPreflights", reasons.INVALID_CHOICE),
        ("spec.http[0].match[0].port", reasons.WRONG_TYPE),
        ("spec.http[0].match[0].uri.prefx", reasons.UNKNOWN_FIELD),
        ("spec.http[0].retries.attempts", reasons.WRONG_TYPE),
        ("spec.http[0].route[0].destination.host", reasons.MISSING_FIELD),
        ("spec.http[0].route[0].destination.port.number", reasons.OUT_OF_RANGE),
        ("spec.http[0].route[0].weight", reasons.WRONG_TYPE),
        ("spec.http[0].timeout", reasons.INVALID_DURATION),
        ("spec.http[1]", reasons.WRONG_TYPE),
        ("spec.http[2]", reasons.WRONG_TYPE),
    ]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ({"hots": []}, "there is no such field; did you mean hosts?"),
        ({"http": [{"timeot": "1s"}]}, "there is no such field; did you mean timeout?"),
        ({"zebra": 1}, "there is no such field"),
        ({"hosts": [True]}, "must be a text, not true or false; YAML reads yes, no, on and off"),
        ({"hosts": [8080]}, "must be a text, not a number: put it in quotes"),
        ({"hosts": {}}, "must be a list, not a mapping"),
        ({"http": [{"timeout": 5}]}, "must be a duration such as 1.5s, not a number"),
        (
            {"http": [{"redirect": {"derivePort": "X"}}]},
            "must be one of FROM_PROTOCOL_DEFAULT, FROM_",
        ),
    ],
)
def test_texts_help(spec: object, text: str) -> None:
    assert text_of(routing(spec)).startswith(text)


def test_both_spellings_of_protobuf_are_known_but_not_together() -> None:
    spec = {"host": "a", "traffic_policy": {"outlier_detection": {"consecutive_5xx_errors": 3}}}
    resource, problems = decode(policy(spec))
    assert problems == []
    assert isinstance(resource, destination_rule.DestinationRule)
    assert resource.spec.traffic_policy == destination_rule.TrafficPolicy(
        outlier_detection=destination_rule.OutlierDetection(consecutive_5xx_errors=3)
    )
    both = {"host": "a", "export_to": ["."], "exportTo": ["."]}
    assert said(policy(both)) == [("spec.exportTo", reasons.DUPLICATE_KEY)]


def test_names_with_numbers_and_reserved_words_are_written_as_istio_writes_them() -> None:
    rule = {"from": [{"source": {"ipBlocks": ["1.2.3.4"]}}]}
    raw = {**policy({"rules": [rule]}, "AuthorizationPolicy"), "apiVersion": "security.istio.io/v1"}
    resource, problems = decode(raw)
    assert isinstance(resource, AuthorizationPolicy)
    assert problems == []
    spec = {
        "host": "a",
        "trafficPolicy": {
            "outlierDetection": {"consecutive5xxErrors": 3},
            "loadBalancer": {"localityLbSetting": {"failover": [{"from": "a", "to": "b"}]}},
            "connectionPool": {
                "http": {"http1MaxPendingRequests": 1, "h2UpgradePolicy": "UPGRADE"}
            },
        },
    }
    assert said(policy(spec)) == []


def test_values_are_typed() -> None:
    resource, _ = decode(
        routing(
            {
                "hosts": ["reviews"],
                "http": [
                    {
                        "timeout": "1.5s",
                        "directResponse": {"status": 200.0, "body": {"bytes": "aGk="}},
                        "fault": {"delay": {"percentage": {"value": 5}}},
                        "corsPolicy": {"allowCredentials": False},
                        "redirect": None,
                    }
                ],
            },
            creationTimestamp="2025-01-31T08:00:00Z",
            labels=None,
        )
    )
    assert isinstance(resource, virtual_service.VirtualService)
    assert resource.metadata.creation_timestamp == 1738310400
    (route,) = resource.spec.http
    assert route.timeout == 1500
    assert route.direct_response == virtual_service.DirectResponse(
        200, virtual_service.Body(bytes_=b"hi")
    )
    assert route.fault is not None
    assert route.fault.delay == virtual_service.Delay(percentage=virtual_service.Percent(5.0))
    assert route.cors_policy is not None
    assert route.cors_policy.allow_credentials is False
    assert route.redirect is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"timeout": "1us"}, reasons.INVALID_DURATION),
        ({"directResponse": {"status": 200, "body": {"bytes": "!"}}}, reasons.INVALID_BYTES),
        ({"directResponse": {"status": 2**32}}, reasons.OUT_OF_RANGE),
        ({"retries": {"attempts": 2**31}}, reasons.OUT_OF_RANGE),
        ({"mirrorPercentage": {"value": 1e300}}, reasons.OUT_OF_RANGE),
        ({"mirrorPercentage": {"value": "5"}}, reasons.WRONG_TYPE),
        ({"name": "half \ud800"}, reasons.WRONG_TYPE),
        ({"match": [{"headers": {"\ud800": {}}}]}, reasons.WRONG_TYPE),
    ],
)
def test_values_that_cannot_be_are_refused(fields: Raw, reason: str) -> None:
    assert [found for _, found in said(routing({"http": [fields]}))] == [reason]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"a": [{"b": "\ud800"}]}, reasons.WRONG_TYPE),
        ({"\ud800": 1}, reasons.WRONG_TYPE),
        ({"a": float("nan")}, reasons.OUT_OF_RANGE),
        ({"a": [10**400]}, reasons.OUT_OF_RANGE),
        ([], reasons.WRONG_TYPE),
    ],
)
def test_data_of_others_is_any_json_but_nothing_else(value: object, reason: str) -> None:
    raw: Raw = {"apiVersion": "extensions.istio.io/v1alpha1", "kind": "WasmPlugin"}
    raw["metadata"] = {"name": "it"}
    good = {"url": "a", "pluginConfig": {"a": [1, 1.5, None, True, {"b": "x"}]}}
    assert decode({**raw, "spec": good})[1] == []
    bad = {"url": "a", "pluginConfig": value}
    assert said({**raw, "spec": bad}) == [("spec.pluginConfig", reason)]


def test_keys_that_are_ports_are_numbers() -> None:
    spec: Raw = {"portLevelMtls": {"8080": {"mode": "DISABLE"}}}
    raw = {**policy(spec, "PeerAuthentication"), "apiVersion": "security.istio.io/v1"}
    resource, _ = decode(raw)
    assert isinstance(resource, PeerAuthentication)
    assert resource.spec.port_level_mtls[8080].mode is Mode.DISABLE
    raw["spec"] = {"portLevelMtls": {"http": {}}}
    assert said(raw) == [("spec.portLevelMtls.http", reasons.WRONG_TYPE)]
    raw["spec"] = {"portLevelMtls": {}}
    assert said(raw) == [("spec.portLevelMtls", reasons.OUT_OF_RANGE)]


def test_absent_lists_and_empty_ones_are_told_apart_where_it_matters() -> None:
    absent, _ = decode({**policy({}, "AuthorizationPolicy"), "apiVersion": "security.istio.io/v1"})
    assert isinstance(absent, AuthorizationPolicy)
    assert absent.spec.rules is None
    assert absent.spec.action is Action.ALLOW


def test_kinds_of_kubernetes_ignore_what_the_mesh_does_not_read() -> None:
    spec = {"ports": [{"port": 80, "targetPort": "http", "zebra": 1}], "ipFamilies": ["IPv4"]}
    resource, problems = decode(core("Service", spec=spec, status={"loadBalancer": {}}))
    assert problems == []
    assert isinstance(resource, kubernetes.Service)
    assert resource.spec.ports == (kubernetes.ServicePort(80, target_port="http"),)


def test_but_not_wrong_types_in_what_it_reads() -> None:
    spec = {"ports": [{"port": "80", "protocol": "tcp"}], "selector": {"version": 1}}
    assert said(core("Service", spec=spec)) == [
        ("spec.ports[0].port", reasons.WRONG_TYPE),
        ("spec.ports[0].protocol", reasons.INVALID_CHOICE),
        ("spec.selector.version", reasons.WRONG_TYPE),
    ]


def test_abbreviations_of_kubernetes_are_known() -> None:
    pod, _ = decode(core("Pod", status={"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]}))
    assert isinstance(pod, kubernetes.Pod)
    assert pod.status.pod_ips == (kubernetes.PodAddress("10.0.0.1"),)
    service, _ = decode(core("Service", spec={"clusterIP": "None", "clusterIPs": ["None"]}))
    assert isinstance(service, kubernetes.Service)
    assert service.spec.cluster_ip == kubernetes.HEADLESS


@pytest.mark.parametrize(
    ("metadata", "path", "reason"),
    [
        ({}, "metadata.name", reasons.MISSING_FIELD),
        ({"name": None}, "metadata.name", reasons.MISSING_FIELD),
        ({"name": ""}, "metadata.name", reasons.INVALID_NAME),
        ({"name": "A"}, "metadata.name", reasons.INVALID_NAME),
        ({"name": "a/b"}, "metadata.name", reasons.INVALID_NAME),
        ({"name": "a" * 254}, "metadata.name", reasons.INVALID_NAME),
        ({"name": "a", "namespace": "a.b"}, "metadata.namespace", reasons.INVALID_NAME),
        ({"name": "a", "namespace": 1}, "metadata.namespace", reasons.WRONG_TYPE),
        ({"name": "a", "labels": {"a": 1}}, "metadata.labels.a", reasons.WRONG_TYPE),
        (
            {"name": "a", "creationTimestamp": "noon"},
            "metadata.creationTimestamp",
            reasons.INVALID_TIME,
        ),
        ([], "metadata", reasons.WRONG_TYPE),
    ],
)
def test_metadata_is_checked(metadata: object, path: str, reason: str) -> None:
    raw = {**core("Pod"), "metadata": metadata}
    assert said(raw) == [(path, reason)]


@pytest.mark.parametrize("name", ["a.b", "a" * 64])
def test_a_service_has_the_name_of_a_dns_label(name: str) -> None:
    assert said(core("Service", {"name": name})) == [("metadata.name", reasons.INVALID_NAME)]
    assert said(core("ServiceAccount", {"name": name})) == []


def test_namespaces_default_and_cluster_scoped_kinds_have_none() -> None:
    pod, _ = decode(core("Pod"))
    node, _ = decode(core("Node", {"name": "it", "namespace": "here"}))
    assert pod is not None
    assert node is not None
    assert (pod.ref, node.ref) == ("Pod/default/it", "Node//it")


@pytest.mark.parametrize(
    ("change", "path", "reason"),
    [
        ({"kind": "VirtualServce"}, "kind", reasons.UNKNOWN_KIND),
        (
            {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway"},
            "kind",
            reasons.UNSUPPORTED_KIND,
        ),
        ({"apiVersion": "networking.istio.io/v9"}, "apiVersion", reasons.UNKNOWN_VERSION),
        ({"kind": 3}, "kind", reasons.MISSING_FIELD),
        ({"apiVersion": ""}, "apiVersion", reasons.MISSING_FIELD),
        ({"kind": None, "apiVersion": None}, "", reasons.NOT_AN_OBJECT),
        ({"sepc": {}}, "sepc", reasons.UNKNOWN_FIELD),
    ],
)
def test_what_is_not_a_resource_says_so(change: Raw, path: str, reason: str) -> None:
    assert said({**routing({}), **change}) == [(path, reason)]


def test_a_kind_to_come_is_named() -> None:
    assert text_of(
        {**routing({}), "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}
    ).startswith("HTTPRoute of gateway")


def test_foreign_kinds_are_passed_over() -> None:
    assert decode({"apiVersion": "apps/v1", "kind": "Deployment"}) == (None, [])
    assert decode({"apiVersion": "v1", "kind": "Endpoints"}) == (None, [])


def test_the_status_of_a_resource_is_not_its_wish() -> None:
    assert said({**routing({"hosts": []}), "status": {"anything": 1}}) == []


def test_problems_are_cut_off_and_so_is_the_time_they_take() -> None:
    spec = {f"field{n}": n for n in range(100_000)} | {"x" * 100_000: 1}
    start = time.process_time()
    found = said(routing(spec))
    sys.stdout.write(f"{(time.process_time() - start) * 1000:.0f} ms\n")
    assert len(found) == MAX_PROBLEMS + 1
    assert found[-1][1] == reasons.TOO_MANY_PROBLEMS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
WORDS = """
spec metadata name http route hosts match uri rules from mtls ports trafficPolicy tls labels
timeout selector data status kind
"""
NAMES = st.sampled_from(WORDS.split())
NAMED = st.recursive(
    JSON, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner), max_leaves=8
)


@given(
    st.sampled_from([kind for kind in KINDS if kind.struct]),
    st.dictionaries(NAMES, NAMED),
)
def test_no_json_makes_it_raise(kind: Kind, raw: Raw) -> None:
    metadata = raw.get("metadata", {"name": "it"})
    raw = {**raw, "apiVersion": kind.api_versions[0], "kind": kind.name, "metadata": metadata}
    resource, problems = decode(raw)
    assert (resource is None) == bool(problems)


@given(JSON)
def test_no_value_makes_it_raise(value: object) -> None:
    raw = value if isinstance(value, dict) else {"kind": value, "apiVersion": value}
    decode(raw)
