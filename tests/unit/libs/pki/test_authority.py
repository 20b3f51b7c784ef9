import copy
import pickle  # noqa: TID251  # to see that it is refused
import stat
from pathlib import Path

import pytest

from libs.pki import authority, bundle, files, keys
from libs.pki.authority import Authority
from libs.pki.errors import AuthorityError
from tests.support.pki import BOB, NOW, cert_manager_files, chain_for, intermediate, root

ROOT = root()
BETWEEN = intermediate(intermediate(ROOT), organization="second")


def test_a_generated_root_is_kept(tmp_path: Path) -> None:
    first = authority.load_or_generate(tmp_path / "ca", "cluster.local", now=NOW)
    again = authority.load_or_generate(tmp_path / "ca", "cluster.local", now=NOW + 86_400)
    assert first.certificate == again.certificate
    assert first.roots == again.roots
    assert stat.S_IMODE((tmp_path / "ca" / "ca-key.pem").stat().st_mode) == 0o600
    assert sorted(p.name for p in (tmp_path / "ca").iterdir()) == [
        "ca-cert.pem",
        "ca-key.pem",
        "cert-chain.pem",
        "root-cert.pem",
    ]


@pytest.mark.parametrize("made", [ROOT, intermediate(ROOT), BETWEEN])
def test_plugged_in_files_sign(made: Authority, tmp_path: Path) -> None:
    authority.save(made, tmp_path)
    loaded = authority.load(tmp_path, now=NOW)
    assert (loaded.chain, loaded.roots) == (made.chain, made.roots)
    assert len(chain_for(BOB, keys.generate(), loaded)) == len(
        chain_for(BOB, keys.generate(), made)
    )


def test_cert_managers_files_sign(tmp_path: Path) -> None:
    cert_manager_files(BETWEEN, tmp_path)
    assert authority.load(tmp_path, now=NOW).chain == BETWEEN.chain


def test_a_chain_file_that_ends_in_the_root_is_fine(tmp_path: Path) -> None:
    authority.save(BETWEEN, tmp_path)
    files.write_public(tmp_path / "cert-chain.pem", bundle.to_pem([*BETWEEN.chain, *BETWEEN.roots]))
    assert authority.load(tmp_path, now=NOW).chain == BETWEEN.chain


def test_the_validity_is_that_of_the_whole_chain() -> None:
    short = intermediate(ROOT, period=(NOW - 10, NOW + 1000))
    below = intermediate(short, organization="second")
    assert below.validity == (NOW - 10, NOW + 1000)


def broken(folder: Path, name: str) -> None:
    other = intermediate(root("other"), organization="stranger")
    changes = {
        "key of another": lambda: files.write_private(
            folder / "ca-key.pem", keys.to_pem(keys.generate())
        ),
        "root of another": lambda: files.write_public(folder / "root-cert.pem", other.root_pem),
        "chain of another": lambda: files.write_public(
            folder / "cert-chain.pem", bundle.to_pem(other.chain)
        ),
        "open to everybody": lambda: (folder / "ca-key.pem").chmod(0o644),
        "no key": (folder / "ca-key.pem").unlink,
        "no root": (folder / "root-cert.pem").unlink,
        "garbage": lambda: files.write_public(folder / "ca-cert.pem", b"garbage"),
    }
    changes[name]()


@pytest.mark.parametrize(
    "name",
    [
        "key of another",
        "root of another",
        "chain of another",
        "open to everybody",
        "no key",
        "no root",
        "garbage",
    ],
)
def test_files_that_do_not_fit_are_refused_and_never_replaced(name: str, tmp_path: Path) -> None:
    authority.save(intermediate(ROOT), tmp_path)
    broken(tmp_path, name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(AuthorityError):
        authority.load_or_generate(tmp_path, "cluster.local", now=NOW)
    assert before == {path: path.read_bytes() for path in tmp_path.iterdir()}


def test_an_expired_authority_is_refused(tmp_path: Path) -> None:
    authority.save(intermediate(ROOT), tmp_path)
    with pytest.raises(AuthorityError, match="expired"):
        authority.load(tmp_path, now=NOW + 31 * 86_400)


def test_a_leaf_is_no_authority(tmp_path: Path) -> None:
    authority.save(intermediate(ROOT, ca=False), tmp_path)
    with pytest.raises(AuthorityError, match="not a CA"):
        authority.load(tmp_path, now=NOW)


def test_the_key_does_not_get_out_by_accident() -> None:
    secret = keys.to_pem(ROOT.key).splitlines()[1]
    assert secret.decode() not in repr(ROOT) + str(ROOT)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(ROOT)
