import pytest

from tests.support.rulings import manifest, ruling


def of_telemetry(spec: str) -> list[str]:
    return ruling(manifest("Telemetry", spec))


OVERRIDE = "metrics: [{overrides: [{%s}]}]"
TAG = OVERRIDE % "tagOverrides: {a: {%s}}"
CUSTOM = "tracing: [{customTags: {a: {%s}}}]"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "tracing: [{providers: [{name: a}]}]",
            "tracing: [{providers: [{name: ''}]}]",
            "spec.tracing[0].providers[0].name OutOfRange",
        ),
        ("tracing: [{}]", "tracing: [{}, {}]", "warning spec.tracing[1] NoEffect"),
        (
            "tracing: [{providers: [{name: a}]}]",
            "tracing: [{providers: [{name: a}, {name: b}]}]",
            "warning spec.tracing[0].providers[1] NoEffect",
        ),
        (
            "tracing: [{randomSamplingPercentage: 100}]",
            "tracing: [{randomSamplingPercentage: 100.1}]",
            "spec.tracing[0].randomSamplingPercentage OutOfRange",
        ),
        (
            CUSTOM % "literal: {value: b}",
            CUSTOM % "literal: {value: ''}",
            "spec.tracing[0].customTags.a.literal.value OutOfRange",
        ),
        (
            CUSTOM % "environment: {name: b}",
            CUSTOM % "environment: {}",
            "spec.tracing[0].customTags.a.environment.name MissingField",
        ),
        (
            CUSTOM % "header: {name: b, defaultValue: c}",
            CUSTOM % "header: {name: b}, literal: {value: c}",
            "spec.tracing[0].customTags.a ConflictingFields",
        ),
        (
            CUSTOM % "header: {name: b}",
            CUSTOM % 'header: {name: "b\\nc"}',
            "spec.tracing[0].customTags.a.header.name InvalidValue",
        ),
        (
            CUSTOM % "formatter: {value: '%PROTOCOL%'}",
            CUSTOM % "",
            "warning spec.tracing[0].customTags.a NoEffect",
        ),
        (
            CUSTOM % "literal: {value: b}",
            "tracing: [{customTags: {'': {literal: {value: b}}}}]",
            "spec.tracing[0].customTags[] EmptyValue",
        ),
        (
            TAG % "value: request.host",
            TAG % "operation: UPSERT",
            "spec.metrics[0].overrides[0].tagOverrides.a.value MissingField",
        ),
        (
            TAG % "operation: REMOVE",
            TAG % "operation: REMOVE, value: b",
            "spec.metrics[0].overrides[0].tagOverrides.a.value ConflictingFields",
        ),
        (
            TAG % "value: request.host",
            TAG % "value: request host",
            "warning spec.metrics[0].overrides[0].tagOverrides.a.value InvalidExpression",
        ),
        (
            OVERRIDE % "match: {metric: REQUEST_COUNT, mode: CLIENT}",
            OVERRIDE % "match: {metric: REQUEST_COUNT, customMetric: a}",
            "spec.metrics[0].overrides[0].match ConflictingFields",
        ),
        (
            OVERRIDE % "match: {customMetric: a}",
            OVERRIDE % "match: {customMetric: ''}",
            "spec.metrics[0].overrides[0].match.customMetric OutOfRange",
        ),
        (
            "metrics: [{reportingInterval: 5s}]",
            "metrics: [{reportingInterval: 0s}]",
            "spec.metrics[0].reportingInterval InvalidDuration",
        ),
        (
            "accessLogging: [{filter: {expression: response.code >= 400}}]",
            "accessLogging: [{filter: {expression: response.code >=}}]",
            "spec.accessLogging[0].filter.expression InvalidExpression",
        ),
        (
            "selector: {matchLabels: {a: b}}",
            "selector: {matchLabels: {a: b}}\ntargetRef: {kind: Service, name: a}",
            "spec ConflictingFields",
        ),
    ],
)
def test_telemetry(good: str, bad: str, found: str) -> None:
    assert of_telemetry(good) == []
    assert of_telemetry(bad) == [found]
