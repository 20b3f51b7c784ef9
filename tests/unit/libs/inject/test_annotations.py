"""Annotations of a pod: what is right is read, and what is not is an error with its place."""

import json
import time

import pytest

from libs.api.problem import Severity
from libs.api.report import Report
from libs.inject.annotations import Wishes, read
from libs.model.ids import Ref
from tests.support.pods import injected, pod

SIDECAR, TRAFFIC = "sidecar.istio.io/", "traffic.sidecar.istio.io/"
READINESS = "readiness.status.sidecar.istio.io/"

BAD = [
    (SIDECAR + "interceptionMode", "redirect"),
    (SIDECAR + "proxyCPU", "lots"),
    (SIDECAR + "proxyMemoryLimit", "1GiB"),
    (SIDECAR + "proxyCPULimit", "-1"),
    (SIDECAR + "proxyImage", "a b"),
    (SIDECAR + "proxyImageType", "../x"),
    (SIDECAR + "logLevel", "loud"),
    (SIDECAR + "componentLogLevel", "x"),
    (SIDECAR + "agentLogLevel", "a:b:c"),
    (SIDECAR + "bootstrapOverride", "Not_A_Name"),
    (SIDECAR + "userVolume", "{"),
    (SIDECAR + "userVolume", "[]"),
    (SIDECAR + "userVolumeMount", '{"a": 5}'),
    (SIDECAR + "userVolume", "[" * 10_000),
    (SIDECAR + "userVolume", '{"a":' * 3_000),
    (SIDECAR + "rewriteAppHTTPProbers", "maybe"),
    (SIDECAR + "nativeSidecar", "yes"),
    (SIDECAR + "capNetBindService", "2"),
    ("status.sidecar.istio.io/port", "70000"),
    ("status.sidecar.istio.io/port", "http"),
    (READINESS + "periodSeconds", "1s"),
    (READINESS + "failureThreshold", "-1"),
    (READINESS + "initialDelaySeconds", "9" * 99),
    (TRAFFIC + "includeOutboundIPRanges", "10.0.0.0/33"),
    (TRAFFIC + "excludeOutboundIPRanges", "10.0.0.0/8,*"),
    (TRAFFIC + "includeInboundPorts", "80,*"),
    (TRAFFIC + "excludeInboundPorts", "80-90"),
    (TRAFFIC + "includeOutboundPorts", "80,99999"),
    (TRAFFIC + "excludeOutboundPorts", "x"),
    (TRAFFIC + "excludeInterfaces", "eth0;reboot"),
    (TRAFFIC + "kubevirtInterfaces", "-j"),
    ("istio.io/reroute-virtual-interfaces", "a b"),
    ("inject.istio.io/templates", "a," * 5_000),
    ("prometheus.istio.io/merge-metrics", "no"),
    ("proxy.istio.io/config", "a: [" * 10),
    ("proxy.istio.io/config", "[" * 16_000),
    ("proxy.istio.io/config", "{" * 16_000),
    ("proxy.istio.io/config", "concurrency: many"),
    ("proxy.istio.io/config", "nobody: 1"),
    ("proxy.istio.io/config", "a: &a [x,x]\nb: *a"),
    ("proxy.istio.io/config", "x" * 262_144),
]


@pytest.mark.parametrize(("name", "value"), BAD, ids=range(len(BAD)))
def test_a_bad_value_refuses_the_pod_and_is_named(name: str, value: str) -> None:
    started = time.perf_counter()
    done = injected(pod(annotations={name: value}))
    assert done.pod is None
    assert any(name in one.path for one in done.errors)
    assert all(len(one.text) < 1000 for one in done.errors)
    assert time.perf_counter() - started < 30  # a guard against hanging, not a measurement


GOOD = [
    (SIDECAR + "interceptionMode", "TPROXY"),
    (SIDECAR + "proxyCPU", "1.5"),
    (SIDECAR + "proxyMemory", "128Mi"),
    (SIDECAR + "proxyImage", "registry.example:5000/a/b:v1@sha256:abc"),
    (SIDECAR + "proxyImageType", "distroless"),
    (SIDECAR + "componentLogLevel", "misc:error,http:debug"),
    (SIDECAR + "agentLogLevel", "xdsproxy:debug,default:info"),
    (SIDECAR + "userVolume", '{"a": {"secret": {"secretName": "s"}}}'),
    (TRAFFIC + "includeOutboundIPRanges", "*"),
    (TRAFFIC + "includeOutboundIPRanges", ""),
    (TRAFFIC + "includeInboundPorts", ""),
    (TRAFFIC + "excludeOutboundPorts", ""),
    (TRAFFIC + "excludeInterfaces", "eth0,net1"),
    ("proxy.istio.io/config", ""),
    ("proxy.istio.io/config", "tracing: {sampling: 1.5}"),
]


@pytest.mark.parametrize(("name", "value"), GOOD, ids=range(len(GOOD)))
def test_a_good_value_does_not(name: str, value: str) -> None:
    assert injected(pod(annotations={name: value})).errors == ()


def test_an_empty_list_is_not_the_same_as_none() -> None:
    args = injected(pod(annotations={TRAFFIC + "includeInboundPorts": ""})).pod
    assert args is not None
    flags = args["spec"]["initContainers"][0]["args"]
    assert flags[flags.index("-b") + 1] == ""


def test_what_has_no_effect_yet_is_warned_of() -> None:
    report = Report(Ref(""))
    read({SIDECAR + "statsHistogramBuckets": "{}"}, report)
    assert [one.severity for one in report.problems] == [Severity.WARNING]


def test_statistics_that_annotations_ask_for_are_asked_for() -> None:
    wishes = {
        SIDECAR + "statsInclusionPrefixes": "cluster.outbound,listener",
        SIDECAR + "extraStatTags": "a,b",
        SIDECAR + "statsCompression": "false",
    }
    done = injected(pod(annotations=wishes)).pod
    assert done is not None
    (text,) = [
        one["value"]
        for one in done["spec"]["initContainers"][1]["env"]
        if one["name"] == "PROXY_CONFIG"
    ]
    found = json.loads(text)
    assert found["proxyStatsMatcher"]["inclusionPrefixes"] == ["cluster.outbound", "listener"]
    assert found["extraStatTags"] == ["a", "b"]
    assert found["statsCompression"] is False


def test_a_pod_that_says_nothing_wishes_nothing() -> None:
    assert read({}, Report(Ref(""))) == Wishes()
