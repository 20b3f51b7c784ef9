import pytest

from tests.support.rulings import manifest, ruling


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("concurrency: 0", "concurrency: -1", "spec.concurrency OutOfRange"),
        (
            "environmentVariables: {A: b}",
            f"environmentVariables: {{A: {'b' * 2049}}}",
            "spec.environmentVariables.A OutOfRange",
        ),
        (
            "selector: {matchLabels: {a: b}}",
            "selector: {matchLabels: {'': b}}",
            "spec.selector.matchLabels[] InvalidLabel",
        ),
        ("image: {imageType: debug}", "image: {type: debug}", "spec.image.type UnknownField"),
    ],
)
def test_proxy_configs(good: str, bad: str, found: str) -> None:
    assert ruling(manifest("ProxyConfig", good)) == []
    assert ruling(manifest("ProxyConfig", bad)) == [found]
