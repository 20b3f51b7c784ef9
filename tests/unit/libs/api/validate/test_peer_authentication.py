import pytest

from tests.support.rulings import manifest, ruling

SELECTOR = "selector: {matchLabels: {a: b}}"


def of_peers(spec: str) -> list[str]:
    return ruling(manifest("PeerAuthentication", spec))


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        ("mtls: {mode: STRICT}", "mtls: {mode: strict}", "spec.mtls.mode InvalidChoice"),
        (
            f"{SELECTOR}\nportLevelMtls: {{1: {{}}}}",
            "portLevelMtls: {1: {}}",
            "spec.portLevelMtls Missing",
        ),
        (
            f"{SELECTOR}\nportLevelMtls: {{65535: {{mode: DISABLE}}}}",
            f"{SELECTOR}\nportLevelMtls: {{65536: {{mode: DISABLE}}}}",
            "spec.portLevelMtls[65536] InvalidPort",
        ),
        (
            f"{SELECTOR}\nportLevelMtls: {{1: {{}}}}",
            f"{SELECTOR}\nportLevelMtls: {{0: {{}}}}",
            "spec.portLevelMtls[0] InvalidPort",
        ),
        (SELECTOR, "selector: {matchLabels: {a: '*'}}", "spec.selector.matchLabels.a InvalidLabel"),
    ],
)
def test_peer_authentication(good: str, bad: str, found: str) -> None:
    assert of_peers(good) == []
    (error,) = of_peers(bad)
    assert error.startswith(found)
