import pytest

from tests.support.rulings import of_traffic_policy

FILES = "clientCertificate: a, privateKey: b, caCertificates: c"


@pytest.mark.parametrize(
    ("good", "bad", "found"),
    [
        (
            f"{{mode: MUTUAL, {FILES}}}",
            "{mode: MUTUAL, privateKey: b, caCertificates: c}",
            [".clientCertificate MissingField"],
        ),
        (
            f"{{mode: MUTUAL, {FILES}}}",
            "{mode: MUTUAL, clientCertificate: a, caCertificates: c}",
            [".privateKey MissingField"],
        ),
        (
            "{mode: MUTUAL, credentialName: 'sds://a'}",
            "{mode: MUTUAL, credentialName: 'sds://'}",
            [".credentialName InvalidName"],
        ),
        (
            "{mode: MUTUAL, credentialName: kubernetes://a}",
            "{mode: MUTUAL, credentialName: kubernetes-gateway://b/a}",
            [".credentialName InvalidName"],
        ),
        (
            "{mode: MUTUAL, credentialName: a}",
            "{mode: MUTUAL, credentialName: a, caCertificates: c}",
            [".caCertificates ConflictingFields"],
        ),
        (
            f"{{mode: SIMPLE, credentialName: a, sni: {'x' * 255}}}",
            f"{{mode: SIMPLE, credentialName: a, sni: {'x' * 256}}}",
            [".sni OutOfRange"],
        ),
        (
            "{mode: SIMPLE, credentialName: a, sni: a}",
            '{mode: SIMPLE, credentialName: a, sni: "a\\0b"}',
            [".sni InvalidValue"],
        ),
        (
            "{mode: SIMPLE, credentialName: a}",
            "{mode: SIMPLE, credentialName: a, caCrl: c}",
            [".caCrl ConflictingFields"],
        ),
        (
            "{mode: SIMPLE, insecureSkipVerify: true}",
            "{mode: SIMPLE, insecureSkipVerify: true, caCertificates: c}",
            [".caCertificates ConflictingFields"],
        ),
        (
            "{mode: MUTUAL, insecureSkipVerify: true, credentialName: a}",
            "{mode: SIMPLE, insecureSkipVerify: true, credentialName: a}",
            [".credentialName ConflictingFields"],
        ),
        (
            "{mode: SIMPLE, insecureSkipVerify: true}",
            "{mode: SIMPLE, insecureSkipVerify: true, subjectAltNames: [a]}",
            [".subjectAltNames ConflictingFields"],
        ),
        (
            "{mode: SIMPLE, credentialName: 'configmap://here/a'}",
            "{mode: SIMPLE, credentialName: 'configmap://there/a'}",
            [".credentialName InvalidName"],
        ),
        (
            "{mode: SIMPLE, caCertificates: c}",
            "{mode: SIMPLE}",
            ["warning  UnpinnedAuthority"],
        ),
        (
            "{mode: ISTIO_MUTUAL, sni: a}",
            "{mode: ISTIO_MUTUAL, caCertificates: c}",
            ["warning .caCertificates NoEffect"],
        ),
    ],
)
def test_tls(good: str, bad: str, found: list[str]) -> None:
    assert of_traffic_policy(f"tls: {good}") == []
    assert [line.replace("tls", "", 1) for line in of_traffic_policy(f"tls: {bad}")] == found
