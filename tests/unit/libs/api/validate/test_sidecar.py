import pytest

from tests.support.rulings import manifest, ruling

PROXY = "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b, port: {number: 1}}}"


def of_sidecar(spec: str) -> list[str]:
    return ruling(manifest("Sidecar", spec))


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("egress: [{hosts: ['*/*']}]", "workloadSelector: {labels: {a: b}}", "spec MissingField"),
        ("inboundConnectionPool: {tcp: {}}", "inboundConnectionPool: {}", "spec.inboundConn"),
        (
            "workloadSelector: {labels: {a: b}}\negress: [{hosts: ['*/*']}]",
            "workloadSelector: {labels: {a: '*'}}\negress: [{hosts: ['*/*']}]",
            "spec.workloadSelector.labels.a InvalidLabel",
        ),
        (
            "workloadSelector: {labels: {a: b}}\negress: [{hosts: ['*/*']}]",
            "workloadSelector: {}\negress: [{hosts: ['*/*']}]",
            "warning spec.workloadSelector.labels EmptySelector",
        ),
        (
            "outboundTrafficPolicy: {mode: ALLOW_ANY}",
            "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS}",
            "spec.outboundTrafficPolicy.mode InvalidChoice",
        ),
        (
            PROXY,
            "outboundTrafficPolicy: {egressProxy: {host: a.b, port: {number: 1}}}",
            "spec.outboundTrafficPolicy.egressProxy ConflictingFields",
        ),
        (
            PROXY,
            "outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: a.b}}",
            "spec.outboundTrafficPolicy.egressProxy.port MissingField",
        ),
        (
            PROXY,
            PROXY.replace("a.b", "'*.b'"),
            "spec.outboundTrafficPolicy.egressProxy.host InvalidHost",
        ),
    ],
)
def test_sidecars(good: str, bad: str, found: str) -> None:
    assert of_sidecar(good) == []
    (said,) = of_sidecar(bad)
    assert said.startswith(found)
