import pytest

from tests.support.rulings import of_traffic_policy


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("{tcp: {}}", "{}", " MissingField"),
        (
            "{tcp: {maxConnections: 0}}",
            "{tcp: {maxConnections: -1}}",
            ".tcp.maxConnections OutOfRange",
        ),
        (
            "{tcp: {connectTimeout: 1ms}}",
            "{tcp: {connectTimeout: 0s}}",
            ".tcp.connectTimeout Invalid",
        ),
        (
            "{tcp: {idleTimeout: 0s}}",
            "{tcp: {idleTimeout: -1s}}",
            ".tcp.idleTimeout InvalidDuration",
        ),
        (
            "{tcp: {maxConnectionDuration: 1s}}",
            "{tcp: {maxConnectionDuration: 0s}}",
            ".tcp.maxConnectionDuration InvalidDuration",
        ),
        (
            "{tcp: {tcpKeepalive: {time: 1s, interval: 1s}}}",
            "{tcp: {tcpKeepalive: {time: 0s}}}",
            ".tcp.tcpKeepalive.time InvalidDuration",
        ),
        (
            "{tcp: {tcpKeepalive: {probes: 0}}}",
            "{tcp: {tcpKeepalive: {probes: -1}}}",
            ".tcp.tcpKeepalive.probes OutOfRange",
        ),
        (
            "{tcp: {tcpKeepalive: {time: 32767s}}}",
            "{tcp: {tcpKeepalive: {time: 4294967296s}}}",
            ".tcp.tcpKeepalive.time InvalidDuration",
        ),
        (
            "{tcp: {tcpKeepalive: {interval: 32767s}}}",
            "{tcp: {tcpKeepalive: {interval: 4294967296s}}}",
            ".tcp.tcpKeepalive.interval InvalidDuration",
        ),
        ("{http: {maxRetries: 0}}", "{http: {maxRetries: -1}}", ".http.maxRetries OutOfRange"),
        (
            "{http: {http1MaxPendingRequests: 1}}",
            "{http: {http1MaxPendingRequests: -1}}",
            ".http.http1MaxPendingRequests OutOfRange",
        ),
        (
            "{http: {idleTimeout: 1s}}",
            "{http: {idleTimeout: 0s}}",
            ".http.idleTimeout InvalidDuration",
        ),
        (
            "{http: {useClientProtocol: true}}",
            "{http: {useClientProtocol: true, h2UpgradePolicy: UPGRADE}}",
            ".http.useClientProtocol ConflictingFields",
        ),
        (
            "{http: {http2KeepAlive: {interval: 1s, timeout: 1s}}}",
            "{http: {http2KeepAlive: {interval: 1s}}}",
            ".http.http2KeepAlive.timeout MissingField",
        ),
    ],
)
def test_limits(good: str, bad: str, found: str) -> None:
    assert of_traffic_policy(f"connectionPool: {good}") == []
    (error,) = of_traffic_policy(f"connectionPool: {bad}")
    assert error.startswith(f"connectionPool{found}")
