import pytest

from tests.support.rulings import of_traffic_policy


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("{time: 32767s, interval: 32767s, probes: 127}", []),
        ("{time: 32768s}", ["warning .time OutOfRange"]),
        ("{interval: 4294967295s}", ["warning .interval OutOfRange"]),
        ("{interval: 4294967296s}", [".interval InvalidDuration"]),
        ("{probes: 128}", ["warning .probes OutOfRange"]),
    ],
)
def test_what_linux_and_envoy_take(written: str, found: list[str]) -> None:
    said = of_traffic_policy(f"connectionPool: {{tcp: {{tcpKeepalive: {written}}}}}")
    assert [line.replace("connectionPool.tcp.tcpKeepalive", "") for line in said] == found
