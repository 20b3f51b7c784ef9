import datetime
import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from libs.pki import bundle, keys, sign, template
from libs.pki.authority import Authority
from libs.pki.errors import CertificateError
from tests.support.pki import ALICE, BOB, NOW, chain_for, intermediate, moment, root

ROOT = root()
AUTHORITIES = {
    "self-signed root": ROOT,
    "intermediate": intermediate(ROOT),
    "two intermediates": intermediate(intermediate(ROOT), organization="second"),
}


@pytest.fixture(name="by", params=AUTHORITIES.values(), ids=AUTHORITIES.keys())
def authorities(request: pytest.FixtureRequest) -> Authority:
    return request.param  # type: ignore[no-any-return]


def test_the_chain_goes_from_leaf_to_root(by: Authority) -> None:
    chain = chain_for(BOB, keys.generate(), by)
    assert len(chain) == 2 + len([one for one in by.chain if one not in by.roots])
    assert chain[-1] == by.root_pem
    certificates = [bundle.parse(pem)[0] for pem in chain]
    for child, parent in itertools.pairwise(certificates):
        child.verify_directly_issued_by(parent)


def test_a_leaf_says_the_identity_and_nothing_more(by: Authority) -> None:
    key = keys.generate()
    leaf = bundle.parse(chain_for(BOB, key, by)[0])[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert list(names.value) == [x509.UniformResourceIdentifier(str(BOB))]
    assert names.critical
    assert list(leaf.subject) == []
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not any([usage.key_cert_sign, usage.crl_sign, usage.key_encipherment])
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(purposes) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    assert keys.spki(keys.accepted(leaf.public_key())) == keys.spki(key.public_key())
    assert leaf.not_valid_before_utc == moment(NOW - 120)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == datetime.timedelta(
        hours=24, minutes=2
    )


def test_serial_numbers_differ_and_an_rsa_key_may_encipher() -> None:
    key = rsa.generate_private_key(65537, 2048)
    leaves = [bundle.parse(chain_for(BOB, key, ROOT)[0])[0] for _ in range(2)]
    assert leaves[0].serial_number != leaves[1].serial_number
    usage = leaves[0].extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.key_encipherment


def test_another_verifier_agrees(by: Authority) -> None:
    chain = [bundle.parse(pem)[0] for pem in chain_for(BOB, keys.generate(), by)]
    verifier = PolicyBuilder().store(Store(by.roots)).time(moment(NOW)).build_client_verifier()
    subjects = verifier.verify(chain[0], chain[1:-1]).subjects
    assert subjects == [x509.UniformResourceIdentifier(str(BOB))]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_openssl_agrees_and_refuses_a_foreign_root(by: Authority, tmp_path: Path) -> None:
    chain = chain_for(BOB, keys.generate(), by)
    (tmp_path / "leaf").write_bytes(chain[0])
    (tmp_path / "between").write_bytes(b"".join(chain[1:-1]))
    (tmp_path / "root").write_bytes(chain[-1])
    (tmp_path / "foreign").write_bytes(root("foreign").root_pem)

    def verdict(roots: str) -> int:
        command = ["openssl", "verify", "-x509_strict", "-no-CAfile", "-no-CApath"]
        command += ["-attime", f"{NOW:.0f}", "-purpose", "sslserver", "-CAfile", roots]
        if len(chain) > 2:
            command += ["-untrusted", "between"]
        return subprocess.run(
            [*command, "leaf"], cwd=tmp_path, capture_output=True, check=False
        ).returncode

    assert verdict("root") == 0
    assert verdict("foreign") != 0


def test_dns_names_come_from_the_template() -> None:
    planned = template.Template(BOB, int(NOW), int(NOW) + 600, ("seine-ca.istio-system.svc",))
    chain = sign.issue(planned, keys.generate().public_key(), authority=ROOT, now=NOW)
    names = bundle.parse(chain[0])[0].extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert names.value.get_values_for_type(x509.DNSName) == ["seine-ca.istio-system.svc"]


def test_a_mistake_in_signing_is_caught_before_it_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control of sign-then-verify: a signer that names somebody else."""
    honest = sign._sign
    template_of_alice = template.Template(ALICE, int(NOW) - 120, int(NOW) + 86_400)
    monkeypatch.setattr(sign, "_sign", lambda _, key, by: honest(template_of_alice, key, by))
    with pytest.raises(CertificateError, match="another identity"):
        chain_for(BOB, keys.generate(), ROOT)
