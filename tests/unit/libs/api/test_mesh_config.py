import pytest

from libs.api import mesh_config, reasons
from libs.api.kubernetes import ConfigMap
from libs.api.mesh_config import LogEncoding, MeshConfig, OutboundMode, read
from libs.api.problem import Severity
from libs.api.resource import Metadata

UNKNOWN_HOSTS = (
    "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: SIMPLE, credentialName: a}}"
)


def config_map(text: str) -> ConfigMap:
    return ConfigMap(Metadata("istio", "istio-system"), {mesh_config.KEY: text})


def said(text: str) -> list[str]:
    config, problems = read(config_map(text))
    assert (config is None) == any(problem.severity is Severity.ERROR for problem in problems)
    return [f"{problem.path.removeprefix('data.mesh')} {problem.reason}" for problem in problems]


def test_what_is_written_is_read() -> None:
    config, problems = read(
        config_map(
            "trustDomain: td\n"
            "outboundTrafficPolicy: {mode: REGISTRY_ONLY}\n"
            "access_log_encoding: JSON\n"
            "enableAutoMtls: false\n"
            "connectTimeout: 5s\n"
            "defaultConfig: {meshId: m, discoveryAddress: a:15012, proxyMetadata: {A: b}}\n"
        )
    )
    assert problems == []
    assert config is not None
    assert config.trust_domain == "td"
    assert config.outbound_traffic_policy is not None
    assert config.outbound_traffic_policy.mode is OutboundMode.REGISTRY_ONLY
    assert config.access_log_encoding is LogEncoding.JSON
    assert config.enable_auto_mtls is False
    assert config.connect_timeout == 5000
    assert config.default_config is not None
    assert config.default_config.mesh_id == "m"
    assert config.root_namespace is None


@pytest.mark.parametrize(
    ("odd", "place"),
    [
        ("mixerCheckServer: a", "mixerCheckServer"),
        ("defaultConfig: {tracng: {}}", "defaultConfig.tracng"),
    ],
)
def test_a_field_that_nobody_knows_is_left_out_and_said(odd: str, place: str) -> None:
    config, problems = read(config_map(f"trustDomain: a.b\n{odd}"))
    assert config is not None
    assert config.trust_domain == "a.b"
    (problem,) = problems
    assert (problem.severity, problem.reason) == (Severity.WARNING, reasons.UNKNOWN_FIELD)
    assert problem.path == f"data.mesh.{place}"


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}"])
def test_no_text_says_nothing(text: str) -> None:
    assert read(config_map(text)) == (MeshConfig(), [])
    assert read(ConfigMap(Metadata("istio", "istio-system"))) == (MeshConfig(), [])


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("trustDomain: a.b", "trustDomain: a..b", [".trustDomain InvalidHost"]),
        (
            "trustDomainAliases: [a]",
            "trustDomainAliases: [a/b]",
            [".trustDomainAliases[0] InvalidHost"],
        ),
        ("connectTimeout: 1s", "connectTimeout: 0s", [".connectTimeout InvalidDuration"]),
        (
            "protocolDetectionTimeout: 0s",
            "protocolDetectionTimeout: -1s",
            [".protocolDetectionTimeout"],
        ),
        ("enableAutoMtls: true", "enableAutoMtls: 'true'", [".enableAutoMtls WrongType"]),
        (
            "defaultHttpRetryPolicy: {attempts: 2, retryOn: reset}",
            "defaultHttpRetryPolicy: {attempts: 2, retryOn: never}",
            [".defaultHttpRetryPolicy.retryOn InvalidRetryOn"],
        ),
        ("{}", "a: [", [" InvalidYaml"]),
        ("{}", "a: &a 1\nb: *a", [" AliasNotAccepted"]),
        ("{}", "a: " + "[" * 100_000, [" TooDeep"]),
        ("{}", "- a", [" NotAnObject"]),
    ],
)
def test_settings_are_checked(good: str, bad: str, found: list[str]) -> None:
    assert said(good) == []
    assert [line[: len(start)] for line, start in zip(said(bad), found, strict=True)] == found


@pytest.mark.parametrize(
    "text",
    [
        "certificates: [{dnsNames: [a]}]",
        "verifyCertificateAtClient: true",
    ],
)
def test_what_has_no_effect_is_said(text: str) -> None:
    assert said(text) == [f".{text.partition(':')[0]} UnsupportedField"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("serviceEntryVisibility: {applyToSidecars: true}", []),
        (
            "serviceEntryVisibility: {defaultVisibility: NONE}",
            [".serviceEntryVisibility.applyToSidecars NoEffect"],
        ),
        (
            "serviceEntryVisibility: {applyToSidecars: true, policies: [{matchingRules: [{}]}]}",
            [
                ".serviceEntryVisibility.policies[0].matchingRules[0].namespaceSelector NoEffect",
            ],
        ),
        (
            UNKNOWN_HOSTS,
            [".outboundTrafficPolicy.tls.credentialName ConflictingFields"],
        ),
        ("caCertificates: [{pem: x}]", [".caCertificates[0].pem InvalidValue"]),
        (
            "caCertificates: [{trustDomains: [a/b], certSigners: [s]}]",
            [
                ".caCertificates[0].certSigners UnsupportedField",
                ".caCertificates[0].trustDomains[0] InvalidHost",
            ],
        ),
    ],
)
def test_parts_that_few_meshes_have(text: str, found: list[str]) -> None:
    assert said(text) == found


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "outboundTrafficPolicy: {mode: ALLOW_ANY_DYNAMIC_DNS, tls: {mode: ISTIO_MUTUAL}}",
            "outboundTrafficPolicy: {mode: ALLOW_ANY, tls: {mode: ISTIO_MUTUAL}}",
            ".outboundTrafficPolicy.tls NoEffect",
        ),
        ("proxyHttpPort: 0", "proxyHttpPort: 65536", ".proxyHttpPort InvalidPort"),
        (
            "meshMTLS: {minProtocolVersion: TLSV1_2}",
            "meshMTLS: {ecdhCurves: [P-256]}",
            ".meshMTLS.ecdhCurves ConflictingFields",
        ),
        (
            "tlsDefaults: {ecdhCurves: [P-256]}",
            "tlsDefaults: {ecdhCurves: [P-256, P-256]}",
            ".tlsDefaults.ecdhCurves[1] UnknownCipher",
        ),
        (
            "defaultTrafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}",
            "defaultTrafficPolicy: {connectionPool: {}}",
            ".defaultTrafficPolicy.connectionPool MissingField",
        ),
        (
            "defaultTrafficPolicy: {outlierDetection: {interval: 1s}}",
            "defaultTrafficPolicy: {outlierDetection: {interval: 0s}}",
            ".defaultTrafficPolicy.outlierDetection.interval InvalidDuration",
        ),
        (
            "serviceSettings: [{hosts: ['*.a']}]",
            "serviceSettings: [{hosts: ['a.*']}]",
            ".serviceSettings[0].hosts[0] InvalidHost",
        ),
        (
            "discoverySelectors: [{matchExpressions: [{key: a, operator: Exists}]}]",
            "discoverySelectors: [{matchExpressions: [{key: a, operator: In}]}]",
            ".discoverySelectors[0].matchExpressions[0].values ConflictingFields",
        ),
        (
            "discoverySelectors: [{matchLabels: {a: b}}]",
            "discoverySelectors: [{matchExpressions: [{key: a, operator: Has}]}]",
            ".discoverySelectors[0].matchExpressions[0].operator InvalidChoice",
        ),
        (
            "defaultInboundHttpRetryPolicy: {attempts: 2, backoff: 1s}",
            "defaultInboundHttpRetryPolicy: {attempts: 0, backoff: 1s}",
            ".defaultInboundHttpRetryPolicy.backoff ConflictingFields",
        ),
        (
            "defaultInboundHttpRetryPolicy: {attempts: 2}",
            "defaultInboundHttpRetryPolicy: {attempts: 2, perTryTimeout: 1s}",
            ".defaultInboundHttpRetryPolicy.perTryTimeout NoEffect",
        ),
        ("proxyListenPort: 15001", "proxyListenPort: 0", ".proxyListenPort InvalidPort"),
        (
            "zoneAwareLbSetting: {enabled: true}",
            "zoneAwareLbSetting: {failover: [{from: a, to: a}]}",
            ".zoneAwareLbSetting.failover[0] InvalidLocality",
        ),
    ],
)
def test_parts(good: str, bad: str, found: str) -> None:
    def own(text: str) -> list[str]:
        return [
            line for line in said(text) if line != f".{text.partition(':')[0]} UnsupportedField"
        ]

    assert own(good) == []
    assert own(bad) == [found]


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("dnsRefreshRate: 2ms", "dnsRefreshRate: 1ms", ".dnsRefreshRate InvalidDuration"),
        (
            "tcpKeepalive: {time: 1s}",
            "tcpKeepalive: {time: 4294967296s}",
            ".tcpKeepalive.time InvalidDuration",
        ),
        ("accessLogFile: /dev/stdout", "accessLogFile: a.log", ".accessLogFile InvalidValue"),
        ("accessLogFile: ''", "accessLogFile: /var/log/", ".accessLogFile InvalidValue"),
        (
            f"accessLogFile: /{'x' * 255}",
            f"accessLogFile: /{'x' * 256}",
            ".accessLogFile InvalidValue",
        ),
        (
            "accessLogFormat: '%PROTOCOL% 5%%'",
            "accessLogFormat: '100%'",
            ".accessLogFormat InvalidFormat",
        ),
        (
            '{accessLogEncoding: JSON, accessLogFormat: \'{"a": {"b": ["%PROTOCOL%"]}}\'}',
            '{accessLogEncoding: JSON, accessLogFormat: \'{"a": {"b": ["%FOO%"]}}\'}',
            ".accessLogFormat InvalidFormat",
        ),
    ],
)
def test_what_envoy_would_refuse_all_listeners_for(good: str, bad: str, found: str) -> None:
    assert said(good) == []
    assert said(bad) == [found]


PROVIDER = "extensionProviders: [{name: p, %s}]"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("envoyExtAuthzGrpc: {service: a/b.c, port: 1}", []),
        ("envoyExtAuthzHttp: {service: b.c, port: 1, statusOnError: '503'}", []),
        ("prometheus: {}", []),
        ("", ["extensionProviders[0] ConflictingFields"]),
        (
            "prometheus: {}, zipkin: {service: b, port: 1}",
            ["extensionProviders[0] ConflictingFields"],
        ),
        ("zipkin: {service: b}", ["extensionProviders[0].zipkin.port MissingField"]),
        ("zipkin: {service: a/b/c, port: 1}", ["extensionProviders[0].zipkin.service InvalidHost"]),
        ("stackdriver: {}", ["extensionProviders[0].stackdriver UnsupportedField"]),
        (
            "envoyExtAuthzHttp: {service: b, port: 1, statusOnError: x}",
            ["extensionProviders[0].envoyExtAuthzHttp.statusOnError InvalidStatus"],
        ),
    ],
)
def test_extension_providers(written: str, found: list[str]) -> None:
    assert [line.lstrip(".") for line in said(PROVIDER % written)] == found


HTTP_AUTHORIZER = "envoyExtAuthzHttp: {service: b, port: 1, %s}"
OTEL_HEADERS = "opentelemetry: {service: b, port: 1, http: {headers: [%s]}}"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            HTTP_AUTHORIZER % "pathPrefix: /a",
            HTTP_AUTHORIZER % "pathPrefix: a",
            "envoyExtAuthzHttp.pathPrefix InvalidValue",
        ),
        (
            HTTP_AUTHORIZER % "includeAdditionalHeadersInCheck: {a: b}",
            HTTP_AUTHORIZER % "includeAdditionalHeadersInCheck: {a: 5%}",
            "envoyExtAuthzHttp.includeAdditionalHeadersInCheck.a.value InvalidHeader",
        ),
        (
            HTTP_AUTHORIZER % "includeAdditionalHeadersInCheck: {hosts: b}",
            HTTP_AUTHORIZER % "includeAdditionalHeadersInCheck: {Host: b}",
            "envoyExtAuthzHttp.includeAdditionalHeadersInCheck.Host InvalidHeader",
        ),
        (
            HTTP_AUTHORIZER % "timeout: 0s",
            HTTP_AUTHORIZER % "timeout: 4294967296s",
            "envoyExtAuthzHttp.timeout InvalidDuration",
        ),
        (
            "envoyExtAuthzGrpc: {service: b, port: 1, timeout: 0s}",
            "envoyExtAuthzGrpc: {service: b, port: 1, timeout: -1s}",
            "envoyExtAuthzGrpc.timeout InvalidDuration",
        ),
        (
            OTEL_HEADERS % "{name: a, value: b%%}",
            OTEL_HEADERS % "{name: a, value: b%}",
            "opentelemetry.http.headers[0].value InvalidHeader",
        ),
        (
            OTEL_HEADERS % "{name: a, value: b}",
            OTEL_HEADERS % '{name: a, value: "b\\nc"}',
            "opentelemetry.http.headers[0].value InvalidHeader",
        ),
        (
            OTEL_HEADERS % "{name: a}",
            OTEL_HEADERS % "{name: a b}",
            "opentelemetry.http.headers[0].name InvalidHeader",
        ),
        (
            "zipkin: {service: b, port: 1, timeout: 4294967295s}",
            "zipkin: {service: b, port: 1, timeout: 4294967296s}",
            "zipkin.timeout InvalidDuration",
        ),
        (
            "envoyFileAccessLog: {path: /dev/stdout, logFormat: {text: '%PROTOCOL%'}}",
            "envoyFileAccessLog: {path: /dev/stdout, logFormat: {text: '%FOO%'}}",
            "envoyFileAccessLog.logFormat.text InvalidFormat",
        ),
        (
            "envoyFileAccessLog: {path: /a}",
            "envoyFileAccessLog: {path: a}",
            "envoyFileAccessLog.path InvalidValue",
        ),
        (
            "envoyOtelAls: {service: b, port: 1, logFormat: {labels: {a: '%PROTOCOL%'}}}",
            "envoyOtelAls: {service: b, port: 1, logFormat: {labels: {a: '%'}}}",
            "envoyOtelAls.logFormat.labels.a InvalidFormat",
        ),
    ],
)
def test_texts_of_providers(good: str, bad: str, found: str) -> None:
    assert said(PROVIDER % good) == []
    assert said(PROVIDER % bad) == [f".extensionProviders[0].{found}"]


def test_two_providers_of_one_name() -> None:
    both = "extensionProviders: [{name: p, prometheus: {}}, {name: p, prometheus: {}}]"
    assert len(said(both)) == 2


OTEL = "extensionProviders: [{{name: a, opentelemetry: {{service: s, port: 1, {}}}}}]"


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (OTEL.format("http: {}, dynatraceSampler: {tenant: t}"), []),
        (
            OTEL.format("grpc: {}, dynatraceSampler: {tenant: t}"),
            ["opentelemetry.dynatraceSampler MissingField"],
        ),
        (OTEL.format("http: {}, grpc: {}"), ["opentelemetry.grpc NoEffect"]),
        (OTEL.format("grpc: {timeout: 0s}"), ["opentelemetry.grpc.timeout InvalidDuration"]),
        (
            OTEL.format("grpc: {initialMetadata: [{name: a, envName: B}]}"),
            ["opentelemetry.grpc.initialMetadata[0].envName UnsupportedField"],
        ),
        (
            "extensionProviders: [{name: a, datadog: {service: '*', port: 1}}]",
            ["datadog.service InvalidHost"],
        ),
        ("extensionProviders: [{name: a, sds: {}}]", ["sds UnsupportedField"]),
        ("extensionProviders: [{name: a, skywalking: {service: s, port: 1}}]", []),
    ],
)
def test_providers_are_judged_by_their_kind(kind: str, found: list[str]) -> None:
    assert said(kind) == [f".extensionProviders[0].{line}" for line in found]


def test_wrong_networks_are_refused_with_the_rest() -> None:
    data = {mesh_config.KEY: "enableTracing: true", mesh_config.NETWORKS_KEY: "networks: {"}
    config, problems = read(ConfigMap(Metadata("istio", "istio-system"), data))
    assert config is None
    assert [problem.path for problem in problems] == ["data.meshNetworks"]
