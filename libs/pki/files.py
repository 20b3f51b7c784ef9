"""Files: key files are never readable by others, not even for the moment in which they are made."""

import os
from pathlib import Path

from libs.pki.errors import UnusableKeyError

_PRIVATE = 0o600
_PUBLIC = 0o644


def write_private(path: Path, content: bytes) -> None:
    """Write `path` atomically with mode 0600."""
    _write(path, content, _PRIVATE)


def write_public(path: Path, content: bytes) -> None:
    """Write `path` atomically with mode 0644, so that readers see the old content or the new."""
    _write(path, content, _PUBLIC)


def refuse_readable_by_others(path: Path) -> None:
    """Check that only the owner, or a group given by a mounted Secret, can read a key file.

    Raises:
        UnusableKeyError: anybody on the machine can read it.

    """
    if path.stat().st_mode & 0o007:
        message = f"{path} holds a private key and is open to everybody: chmod 0600"
        raise UnusableKeyError(message)


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
