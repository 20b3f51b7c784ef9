import stat
from pathlib import Path

import pytest

from libs.pki import files
from libs.pki.errors import UnusableKeyError


def test_modes_whatever_the_umask(tmp_path: Path) -> None:
    files.write_private(tmp_path / "key", b"k")
    files.write_public(tmp_path / "root", b"r")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "root").stat().st_mode) == 0o644


def test_replacing_an_open_file_leaves_no_trace_and_no_wider_mode(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    path.chmod(0o666)
    files.write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("mode", "open_to_all"), [(0o600, False), (0o640, False), (0o644, True)])
def test_keys_open_to_everybody_are_refused(mode: int, open_to_all: bool, tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"k")
    path.chmod(mode)
    if open_to_all:
        with pytest.raises(UnusableKeyError, match="chmod"):
            files.refuse_readable_by_others(path)
    else:
        files.refuse_readable_by_others(path)
