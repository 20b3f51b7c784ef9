import pytest

from tests.support.rulings import of_traffic_policy

RANDOM = "loadBalancer: {simple: RANDOM}"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            "tunnel: {protocol: POST, targetHost: a, targetPort: 1}",
            "tunnel: {targetHost: a, targetPort: 1}\nproxyProtocol: {}",
            "spec.trafficPolicy ConflictingFields",
        ),
        (
            "tunnel: {targetHost: 1.2.3.4, targetPort: 1}",
            "tunnel: {targetHost: '*', targetPort: 1}",
            "tunnel.targetHost InvalidHost",
        ),
        (
            "tunnel: {protocol: CONNECT, targetHost: a, targetPort: 1}",
            "tunnel: {protocol: GET, targetHost: a, targetPort: 1}",
            "tunnel.protocol InvalidChoice",
        ),
        (
            "retryBudget: {budgetInterval: 0s}",
            "retryBudget: {budgetInterval: -1s}",
            "retryBudget.budgetInterval InvalidDuration",
        ),
        (
            "tunnel: {targetHost: a, targetPort: 1}",
            "tunnel: {targetHost: a, targetPort: 0}",
            "tunnel.targetPort InvalidPort",
        ),
        (
            f"portLevelSettings: [{{port: {{number: 1}}, {RANDOM}}}]",
            f"portLevelSettings: [{{{RANDOM}}}]",
            "portLevelSettings[0].port MissingField",
        ),
        (
            f"portLevelSettings: [{{port: {{number: 1}}, {RANDOM}}}]",
            "portLevelSettings: [{port: {number: 1}}]",
            "portLevelSettings[0] MissingField",
        ),
        (
            f"portLevelSettings: [{{port: {{number: 1}}, {RANDOM}}}]",
            f"portLevelSettings: [{{port: {{}}, {RANDOM}}}]",
            "warning portLevelSettings[0].port.number NoEffect",
        ),
        (
            "outlierDetection: {interval: 1s}",
            "outlierDetection: {interval: 0s}",
            "outlierDetection.in",
        ),
        (
            "outlierDetection: {baseEjectionTime: 1s}",
            "outlierDetection: {baseEjectionTime: -1s}",
            "outlierDetection.baseEjectionTime InvalidDuration",
        ),
        (
            "outlierDetection: {maxEjectionPercent: 100}",
            "outlierDetection: {maxEjectionPercent: 101}",
            "outlierDetection.maxEjectionPercent OutOfRange",
        ),
        (
            "outlierDetection: {minHealthPercent: 0}",
            "outlierDetection: {minHealthPercent: -1}",
            "outlierDetection.minHealthPercent OutOfRange",
        ),
        (
            """
            outlierDetection:
              consecutiveLocalOriginFailures: 1
              splitExternalLocalOriginErrors: true
            """,
            "outlierDetection: {consecutiveLocalOriginFailures: 1}",
            "outlierDetection.consecutiveLocalOriginFailures ConflictingFields",
        ),
        (
            "outlierDetection: {consecutive5xxErrors: 1}",
            "outlierDetection: {consecutiveErrors: 1}",
            "warning outlierDetection.consecutiveErrors Deprecated",
        ),
        (
            "outlierDetection: {outlierDetectionHttpErrorCodes: [599]}",
            "outlierDetection: {outlierDetectionHttpErrorCodes: [600]}",
            "outlierDetection.outlierDetectionHttpErrorCodes[0] OutOfRange",
        ),
    ],
)
def test_traffic_policies(good: str, bad: str, found: str) -> None:
    assert of_traffic_policy(good) == []
    (error,) = of_traffic_policy(bad)
    assert error.startswith(found)
