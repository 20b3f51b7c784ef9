import pytest

from tests.support.rulings import manifest, ruling

FILES = "serverCertificate: a, privateKey: b"


def of_tls(fields: str) -> list[str]:
    port = "{number: 443, protocol: HTTPS, name: a}"
    server = f"{{port: {port}, hosts: ['*'], tls: {{{fields}}}}}"
    found = ruling(manifest("Gateway", f"selector: {{a: b}}\nservers: [{server}]"))
    return [line.replace("spec.servers[0].tls", "tls") for line in found]


@pytest.mark.parametrize(
    "good",
    [
        "mode: PASSTHROUGH",
        "mode: AUTO_PASSTHROUGH",
        "mode: ISTIO_MUTUAL",
        "mode: SIMPLE, credentialName: a",
        "mode: SIMPLE, credentialNames: [a, b]",
        "mode: SIMPLE, credentialNames: ['kubernetes://a', 'sds://b']",
        "mode: MUTUAL, credentialName: 'builtin://'",
        f"mode: SIMPLE, {FILES}",
        f"mode: SIMPLE, tlsCertificates: [{{{FILES}}}, {{{FILES}}}]",
        f"mode: MUTUAL, {FILES}, caCertificates: c, caCrl: d",
        "mode: OPTIONAL_MUTUAL, credentialName: a, caCertCredentialName: b",
        "mode: SIMPLE, credentialName: a, cipherSuites: [AES128-SHA, '-AES256-SHA']",
        "mode: SIMPLE, credentialName: a, ecdhCurves: [X25519, P-256]",
        f"mode: MUTUAL, credentialName: a, verifyCertificateHash: ['{'ab' * 32}']",
        f"mode: MUTUAL, credentialName: a, verifyCertificateHash: ['{'AB:' * 31}AB']",
        f"mode: MUTUAL, credentialName: a, verifyCertificateSpki: ['{'a' * 43}=']",
    ],
)
def test_what_a_server_can_have(good: str) -> None:
    assert of_tls(good) == []


@pytest.mark.parametrize(
    "name", ["sds://", "kubernetes://", "kubernetes-gateway://a/b", "invalid://", "builtin://a"]
)
def test_names_that_nobody_has(name: str) -> None:
    invalid = "InvalidName"
    assert of_tls(f"mode: SIMPLE, credentialName: '{name}'") == [f"tls.credentialName {invalid}"]
    found = of_tls(f"mode: MUTUAL, credentialNames: [a, '{name}'], caCertCredentialName: '{name}'")
    assert found == [f"tls.caCertCredentialName {invalid}", f"tls.credentialNames[1] {invalid}"]


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        ("mode: SIMPLE", ["tls.serverCertificate MissingField", "tls.privateKey MissingField"]),
        ("mode: SIMPLE, privateKey: a", ["tls.serverCertificate MissingField"]),
        (
            "mode: SIMPLE, tlsCertificates: [{serverCertificate: a}]",
            ["tls.tlsCertificates[0].privateKey MissingField"],
        ),
        (f"mode: MUTUAL, {FILES}", ["tls.caCertificates MissingField"]),
        (f"mode: OPTIONAL_MUTUAL, {FILES}", ["tls.caCertificates MissingField"]),
        (f"mode: SIMPLE, credentialName: a, {FILES}", ["tls ConflictingFields"]),
        ("mode: SIMPLE, credentialName: a, credentialNames: [b]", ["tls ConflictingFields"]),
        ("mode: SIMPLE, credentialNames: []", ["tls.credentialNames OutOfRange"]),
        ("mode: SIMPLE, credentialNames: [a, b, c]", ["tls.credentialNames OutOfRange"]),
        ("mode: ISTIO_MUTUAL, credentialName: a", ["tls.credentialName ConflictingFields"]),
        ("mode: ISTIO_MUTUAL, privateKey: a", ["tls.privateKey ConflictingFields"]),
        (f"mode: SIMPLE, {FILES}, caCrl: a", ["tls.caCrl ConflictingFields"]),
        ("mode: PASSTHROUGH, caCrl: a", ["warning tls.caCrl NoEffect"]),
        ("mode: PASSTHROUGH, credentialName: a", ["warning tls.credentialName NoEffect"]),
        ("mode: MUTUAL, credentialName: a, caCrl: b", ["warning tls.caCrl NoEffect"]),
        ("mode: SIMPLE, credentialName: a, minProtocolVersion: TLSV1_1", ["warning tls.minP"]),
        (
            "mode: SIMPLE, credentialName: a, cipherSuites: [AES128-SHA, nope, AES128-SHA]",
            ["warning tls.cipherSuites[1] Unknown", "warning tls.cipherSuites[2] Unknown"],
        ),
        (
            "mode: SIMPLE, credentialName: a, ecdhCurves: [P-255]",
            ["warning tls.ecdhCurves[0] UnknownCipher"],
        ),
        (
            "mode: MUTUAL, credentialName: a, subjectAltNames: ['']",
            ["warning tls.subjectAltNames[0] InvalidValue"],
        ),
        (
            "mode: MUTUAL, credentialName: a, verifyCertificateHash: [abcd]",
            ["tls.verifyCertificateHash[0] InvalidValue"],
        ),
        (
            "mode: MUTUAL, credentialName: a, verifyCertificateSpki: [abcd]",
            ["tls.verifyCertificateSpki[0] InvalidValue"],
        ),
        ("mode: TLS", ["tls.mode InvalidChoice"]),
        ("mode: SIMPLE, credentialNme: a", ["tls.credentialNme UnknownField"]),
    ],
)
def test_what_it_cannot_have(bad: str, found: list[str]) -> None:
    said = of_tls(bad)
    assert [line[: len(start)] for line, start in zip(said, found, strict=True)] == found
