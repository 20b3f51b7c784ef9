import stat
from pathlib import Path

import pytest

from libs.protos.xds.v1 import relay_pb2
from libs.runtime.tasks import background
from services.agent import files
from services.agent.files import POLL_SECONDS, FileSecrets
from services.agent.secrets import Secrets
from tests.support.clock import VirtualClock


def pem(text: str) -> str:
    return f"-----BEGIN {text}-----\nAA==\n-----END {text}-----\n"


def served(secrets: Secrets, name: str) -> relay_pb2.Secret:
    found = secrets.get(name)
    assert found is not None
    return relay_pb2.Secret.FromString(found.body)


async def test_a_named_certificate_is_followed_through_rotations_of_its_mount(
    tmp_path: Path,
) -> None:
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "tls.crt").write_text(pem(f"CHAIN {version}"))
        (tmp_path / version / "tls.key").write_text(pem("KEY"))
    link = tmp_path / "mount"
    link.symlink_to(tmp_path / "1")
    secrets, clock = Secrets(), VirtualClock()
    followed = FileSecrets(secrets, clock=clock)
    name = f"file-cert:{link}/tls.crt~{link}/tls.key"
    followed.subscribe(name)
    chain = served(secrets, name).tls_certificate.certificate_chain.inline_bytes
    assert chain == pem("CHAIN 1").encode()
    async with background(followed.run()):
        link.unlink()
        link.symlink_to(tmp_path / "2")
        await clock.advance(POLL_SECONDS)
    chain = served(secrets, name).tls_certificate.certificate_chain.inline_bytes
    assert chain == pem("CHAIN 2").encode()


async def test_a_broken_or_missing_file_leaves_the_last_good_secret(tmp_path: Path) -> None:
    path = tmp_path / "root.pem"
    path.write_text(pem("CERTIFICATE"))
    secrets, clock = Secrets(), VirtualClock()
    followed = FileSecrets(secrets, clock=clock)
    name = f"file-root:{path}"
    followed.subscribe(name)
    before = secrets.get(name)
    async with background(followed.run()):
        for spoil in (lambda: path.write_text("half"), path.unlink):
            spoil()
            await clock.advance(POLL_SECONDS)
            assert secrets.get(name) == before
        path.write_text(pem("OTHER"))
        await clock.advance(POLL_SECONDS)
    assert secrets.get(name) != before


def test_names_that_mean_no_file_are_left_alone() -> None:
    secrets = Secrets()
    followed = FileSecrets(secrets, clock=VirtualClock())
    for name in ("default", "kubernetes://x", "file-cert:/no/key"):
        followed.subscribe(name)
        assert secrets.get(name) is None


def test_the_system_bundle_can_be_asked_for() -> None:
    secrets = Secrets()
    FileSecrets(secrets, clock=VirtualClock()).subscribe("file-root:system")
    if secrets.get("file-root:system") is None:
        pytest.skip("this machine has no bundle of public roots")
    assert served(secrets, "file-root:system").validation_context.trusted_ca.inline_bytes


def test_a_certificate_that_the_pod_was_given_is_found_only_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path("var/run/secrets/workload-spiffe-credentials")
    folder.mkdir(parents=True)
    for name in ("cert-chain.pem", "key.pem"):
        (folder / name).touch()
    assert files.provided() is None
    (folder / "root-cert.pem").touch()
    assert files.provided() is not None


def test_written_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    files.write_all(tmp_path / "out", chain="C", key="K", roots="R")
    assert (tmp_path / "out" / "key.pem").read_text() == "K"
    assert (tmp_path / "out" / "key.pem").stat().st_mode & 0o077 == 0


def test_written_files_change_together(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "root-cert.pem").write_text("brought by hand")
    files.write_all(out, chain="C1", key="K1", roots="R1")
    opened = (out / "..data").resolve()  # what a reader has found before the next renewal
    files.write_all(out, chain="C2", key="K2", roots="R2")
    names = ("cert-chain.pem", "key.pem", "root-cert.pem")
    assert [(out / name).read_text() for name in names] == ["C2", "K2", "R2"]
    assert not opened.exists()
    assert len(list(out.iterdir())) == 5  # three names, the link, what it leads to


def test_what_cannot_be_written_is_said_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    taken = tmp_path / "file"
    taken.touch()
    files.keep_all(taken / "certs", chain="C", key="K", roots="R")
    assert "certificate not written" in caplog.text
    files.keep_all(tmp_path / "certs", chain="C", key="K", roots="R")
    assert (tmp_path / "certs/key.pem").read_text() == "K"


def test_the_certificate_that_we_renew_is_not_one_that_the_pod_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files.write_all(Path("etc/certs"), chain="C", key="K", roots="R")
    assert files.provided() is not None
    assert files.provided(besides=str(tmp_path / "etc/certs")) is None


def test_only_where_it_is_wanted_may_the_group_read(tmp_path: Path) -> None:
    for group, folder_mode, file_mode in ((True, 0o2750, 0o640), (False, 0o700, 0o600)):
        out = tmp_path / str(group)
        files.write_all(out, chain="C", key="K", roots="R", group=group)
        key = (out / "key.pem").resolve()
        assert stat.S_IMODE(key.stat().st_mode) == file_mode
        assert stat.S_IMODE(key.parent.stat().st_mode) == folder_mode
