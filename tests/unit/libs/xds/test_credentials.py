"""T20: which names lead to a Secret, and for whom. Every refusal has the name that is let in."""

import pytest
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from libs.xds import credentials
from libs.xds.credentials import CredentialName, Material

MINE = "shop"
WANTED = CredentialName(MINE, "web", roots=False)
FULL = Material(b"cert", b"key", b"roots", b"crl", b"staple")


@pytest.mark.parametrize(
    ("name", "secret", "roots"),
    [
        ("kubernetes://web", "web", False),
        ("kubernetes://shop/web", "web", False),
        ("kubernetes://web-cacert", "web", True),
        ("kubernetes://shop/web-cacert", "web", True),
        ("kubernetes://web.example.com", "web.example.com", False),
        (f"kubernetes://{'a' * 63}", "a" * 63, False),
    ],
)
def test_a_name_leads_to_a_secret_of_the_proxys_own_namespace(
    name: str, secret: str, roots: bool
) -> None:
    assert credentials.parse(name, MINE) == CredentialName(MINE, secret, roots)


@pytest.mark.parametrize(
    "name",
    [
        "kubernetes://other/web",
        "kubernetes://other/web-cacert",
        "kubernetes://SHOP/web",
        "kubernetes://shop/WEB",
        "kubernetes://shop//web",
        "kubernetes:///web",
        "kubernetes://./web",
        "kubernetes://../other/web",
        "kubernetes://shop/../other/web",
        "kubernetes://..%2fother%2fweb",
        "kubernetes://other%2fweb",
        "kubernetes://shop%2Fweb",
        "kubernetes://shop/other/web",
        "kubernetes://other/shop/web",
        "kubernetes://shop\\web",
        "kubernetes://shop/web\n",
        "kubernetes://web\x00",
        "kubernetes://web ",
        "kubernetes://wéb",
        "kubernetes://-cacert",
        "kubernetes://",
        "kubernetes://*",
        "Kubernetes://web",
        "KUBERNETES://shop/web",
        "kubernetes-gateway://shop/web",
        "configmap://shop/web",
        "builtin://",
        "invalid://",
        "file-cert:/etc/certs/tls.crt~/etc/certs/tls.key",
        "file-root:/etc/passwd",
        "default",
        "ROOTCA",
        "web",
        "shop/web",
        "",
        f"kubernetes://{'a' * 4096}",
        f"kubernetes://{'a.' * 126}aa",
    ],
)
def test_every_other_name_leads_nowhere(name: str) -> None:
    assert credentials.parse(name, MINE) is None


@pytest.mark.parametrize("namespace", ["", "*", "..", "a/b", "shop\n"])
def test_who_proves_no_namespace_gets_nothing(namespace: str) -> None:
    assert credentials.parse("kubernetes://web", namespace) is None
    assert credentials.parse(f"kubernetes://{namespace}/web", namespace) is None


def test_roots_stand_in_a_secret_of_their_own_or_beside_the_certificate() -> None:
    assert WANTED.secrets == ("web",)
    assert CredentialName(MINE, "web", roots=True).secrets == ("web-cacert", "web")


def test_who_asks_for_roots_gets_no_key() -> None:
    found = credentials.roots("kubernetes://web-cacert", WANTED, FULL)
    assert found is not None
    secret = Secret.FromString(found.body)
    assert secret.validation_context.trusted_ca.inline_bytes == b"roots"
    assert secret.validation_context.crl.inline_bytes == b"crl"
    assert b"key" not in found.body.replace(b"kubernetes", b"")
    whole = credentials.certificate("kubernetes://web", WANTED, FULL)
    assert whole is not None
    assert Secret.FromString(whole.body).tls_certificate.private_key.inline_bytes == b"key"


@pytest.mark.parametrize("found", [Material(), Material(b"cert"), Material(b"", b"key")])
def test_half_a_certificate_is_none(found: Material) -> None:
    assert credentials.certificate("kubernetes://web", WANTED, found) is None
    assert credentials.roots("kubernetes://web-cacert", WANTED, found) is None


def test_what_is_kept_by_version_is_kept_by_owner() -> None:
    made = credentials.certificate("kubernetes://web", WANTED, FULL)
    assert made is not None
    ours, theirs = (credentials.credential_set(owner, [made]) for owner in ("shop", "other"))
    assert ours.version != theirs.version


def test_material_does_not_show_itself() -> None:
    assert "key" not in repr(FULL)
    assert "key" not in f"{[FULL]}"
