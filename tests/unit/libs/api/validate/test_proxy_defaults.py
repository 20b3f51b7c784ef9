import pytest

from libs.api import mesh_config
from libs.api.check import check
from libs.api.kubernetes import ConfigMap, Pod
from libs.api.resource import Metadata
from tests.support.rulings import ruling


def said(text: str) -> list[str]:
    data = {mesh_config.KEY: f"defaultConfig: {{{text}}}"}
    _, problems = mesh_config.read(ConfigMap(Metadata("istio", "istio-system"), data))
    place = "data.mesh.defaultConfig"
    return [f"{problem.path.replace(place, 'it')} {problem.reason}" for problem in problems]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("configPath: ./a", "configPath: ''", "it.configPath EmptyValue"),
        ("serviceCluster: a", "serviceCluster: ''", "it.serviceCluster EmptyValue"),
        (
            "tracingServiceName: CANONICAL_NAME_ONLY",
            "tracingServiceName: CANONICAL_NAME_ONLY, serviceCluster: a",
            "it ConflictingFields",
        ),
        ("discoveryAddress: a.b:15012", "discoveryAddress: a.b", "it.discoveryAddress InvalidAddr"),
        ("discoveryAddress: '[::1]:1'", "discoveryAddress: '::1:1'", "it.discoveryAddress Invalid"),
        ("statsdUdpAddress: 1.2.3.4:1", "statsdUdpAddress: a_b:1", "it.statsdUdpAddress Invalid"),
        (
            "envoyAccessLogService: {address: a:1}",
            "envoyAccessLogService: {address: a:0}",
            "it.envoyAccessLogService.address InvalidAddress",
        ),
        ("drainDuration: 5s", "drainDuration: 1500ms", "it.drainDuration InvalidDuration"),
        ("drainDuration: 5s", "drainDuration: 0s", "it.drainDuration InvalidDuration"),
        (
            "terminationDrainDuration: 0s",
            "terminationDrainDuration: -1s",
            "it.terminationDrainDuration InvalidDuration",
        ),
        (
            "tracing: {customTags: {a: {literal: {value: b}}}}",
            "tracing: {customTags: {a: {literal: {value: ''}}}}",
            "it.tracing.customTags.a.literal.value EmptyValue",
        ),
        (
            "tracing: {customTags: {a: {environment: {name: B}}}}",
            "tracing: {customTags: {a: {environment: {}}}}",
            "it.tracing.customTags.a.environment.name EmptyValue",
        ),
        (
            "tracing: {customTags: {a: {header: {name: b}}}}",
            'tracing: {customTags: {a: {header: {name: "b\\nc"}}}}',
            "it.tracing.customTags.a.header.name InvalidValue",
        ),
        (
            "envoyMetricsService: {address: 'a:1', tcpKeepalive: {time: 1s}}",
            "envoyMetricsService: {address: 'a:1', tcpKeepalive: {time: 4294967296s}}",
            "it.envoyMetricsService.tcpKeepalive.time InvalidDuration",
        ),
        (
            "proxyHeaders: {server: {value: a}}",
            'proxyHeaders: {server: {value: "a\\nb"}}',
            "it.proxyHeaders.server.value InvalidValue",
        ),
        ("proxyAdminPort: 15000", "proxyAdminPort: 0", "it.proxyAdminPort InvalidPort"),
        ("statusPort: 15020", "statusPort: 65536", "it.statusPort InvalidPort"),
        ("concurrency: 0", "concurrency: -1", "it.concurrency OutOfRange"),
        (
            "tracing: {zipkin: {address: $(HOST_IP):9411}}",
            "tracing: {zipkin: {address: zipkin}}",
            "it.tracing.zipkin.address InvalidAddress",
        ),
        (
            "tracing: {lightstep: {address: a:1, accessToken: b}}",
            "tracing: {lightstep: {address: a:1}}",
            "it.tracing.lightstep.accessToken MissingField",
        ),
        (
            "tracing: {datadog: {address: a:1}}",
            "tracing: {datadog: {address: a:1}, stackdriver: {}}",
            "it.tracing ConflictingFields",
        ),
        ("tracing: {sampling: 1.5}", "tracing: {sampling: 101}", "it.tracing.sampling OutOfRange"),
        (
            "tracing: {tlsSettings: {mode: SIMPLE, caCertificates: a}}",
            "tracing: {tlsSettings: {mode: MUTUAL, caCertificates: a, privateKey: b}}",
            "it.tracing.tlsSettings.clientCertificate MissingField",
        ),
        (
            "readinessProbe: {tcpSocket: {port: 1}}",
            "readinessProbe: {tcpSocket: {port: 0}}",
            "it.readinessProbe.tcpSocket.port InvalidPort",
        ),
        (
            "privateKeyProvider: {qat: {pollDelay: 1ms}}",
            "privateKeyProvider: {qat: {pollDelay: 0s}}",
            "it.privateKeyProvider.qat.pollDelay MissingField",
        ),
        (
            "privateKeyProvider: {cryptomb: {pollDelay: 1ms}}",
            "privateKeyProvider: {}",
            "it.privateKeyProvider ConflictingFields",
        ),
        (
            "connectionSettings: {httpIdleTimeout: 0s, http2InitialStreamWindowSize: 65535}",
            "connectionSettings: {httpIdleTimeout: -1s}",
            "it.connectionSettings.httpIdleTimeout InvalidDuration",
        ),
        (
            "connectionSettings: {profile: EDGE}",
            "connectionSettings: {http2InitialStreamWindowSize: 65534}",
            "it.connectionSettings.http2InitialStreamWindowSize OutOfRange",
        ),
        (
            "gatewayTopology: {numTrustedProxies: 1, proxyProtocol: {}}",
            "gatewayTopology: {forwardClientCertDetails: ALL}",
            "it.gatewayTopology.forwardClientCertDetails InvalidChoice",
        ),
    ],
)
def test_defaults(good: str, bad: str, found: str) -> None:
    assert _wrong(good) == []
    (line,) = _wrong(bad)
    assert line.startswith(found)


def _wrong(text: str) -> list[str]:
    """What is said, but for fields that nobody reads."""
    return [line for line in said(text) if not line.endswith("UnsupportedField")]


def test_what_nobody_reads_is_said() -> None:
    assert said("binaryPath: /envoy") == ["it.binaryPath UnsupportedField"]
    assert said("tracing: {zipkin: {address: a:1}}") == []
    assert said("tracing: {stackdriver: {}}") == ["it.tracing.stackdriver UnsupportedField"]
    assert said("connectionSettings: {listenerConnectionLimit: 5}") == [
        "it.connectionSettings.listenerConnectionLimit UnsupportedField"
    ]
    assert said("concurrency: 2") == []


def pod(annotation: str) -> str:
    return (
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: it\n  annotations:\n"
        f"    proxy.istio.io/config: |\n      {annotation}\n"
    )


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("concurrency: 2", []),
        ("# nothing", []),
        ("concurency: 2", [".concurency UnknownField"]),
        ("concurrency: a", [".concurrency WrongType"]),
        ("statusPort: 0", [".statusPort InvalidPort"]),
        ("a: [", [" InvalidYaml"]),
        ("[" * 10_000, [" TooDeep"]),
        ("a" * 17_000, [" TooLarge"]),
    ],
)
def test_annotations_of_pods_are_warned_of(text: str, found: list[str]) -> None:
    place = "warning metadata.annotations[proxy.istio.io/config]"
    assert ruling(pod(text)) == [f"{place}{line}" for line in found]
    (finding,) = check(pod(text), "f")
    assert isinstance(finding.resource, Pod)
