"""Files: secrets that lie in the pod's own file system, followed as they are rotated.

Two kinds: the workload's certificate where something else than our CA provides it, and files that
the configuration names (`file-cert:<cert>~<key>`, `file-root:<path>`). Kubernetes rotates a mounted
Secret by moving a symlink, so what counts is what the path leads to; that is looked at every
POLL_SECONDS. A file that cannot be read, or that is half written, leaves the last good secret in
use.
"""

import logging
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from libs.runtime.clock import Clock, SystemClock
from services.agent import metrics, secrets
from services.agent.secrets import Secret, Secrets

logger = logging.getLogger(__name__)

POLL_SECONDS = 2.0
MAX_FILES = 200
MAX_FILE_BYTES = 1024 * 1024
FILE_CERT, FILE_ROOT, SYSTEM_ROOT = "file-cert:", "file-root:", "file-root:system"
_DATA = "..data"
_PROVIDED = (Path("./var/run/secrets/workload-spiffe-credentials"), Path("./etc/certs"))
_SYSTEM_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")

_Stamp = tuple[tuple[int, int, int] | None, ...]


class _Followed(Struct):
    paths: tuple[Path, ...]
    build: Callable[[list[bytes]], Secret]
    stamp: _Stamp = ()


class FileSecrets:
    """Follows files and puts what they hold into `secrets`. MAX_FILES names at most."""

    def __init__(self, served: Secrets, *, clock: Clock | None = None) -> None:
        self._served = served
        self._clock = clock or SystemClock()
        self._followed: dict[str, _Followed] = {}

    def subscribe(self, name: str) -> None:
        """Follow the files that a secret's name means, if it means any."""
        if name in self._followed or len(self._followed) >= MAX_FILES:
            return
        if name.startswith(FILE_ROOT):
            path = _system_bundle() if name == SYSTEM_ROOT else name.removeprefix(FILE_ROOT)
            self.follow_root(name, Path(path))
        elif name.startswith(FILE_CERT) and "~" in name:
            chain, _, key = name.removeprefix(FILE_CERT).partition("~")
            self.follow_certificate(name, Path(chain), Path(key))

    def follow_certificate(self, name: str, chain: Path, key: Path) -> None:
        """Serve a certificate and its key from two files."""

        def build(texts: list[bytes]) -> Secret:
            return secrets.certificate(name, chain=texts[0], key=texts[1])

        self._follow(name, _Followed((chain, key), build))

    def follow_root(self, name: str, path: Path, *, beside: str = "") -> None:
        """Serve the roots in a file, and those in `beside`, PEM."""

        def build(texts: list[bytes]) -> Secret:
            roots = texts[0].rstrip() + b"\n" + beside.encode() if beside else texts[0]
            return secrets.validation(name, roots=roots)

        self._follow(name, _Followed((path,), build))

    async def run(self) -> None:
        """Look for changes until cancelled."""
        while True:
            await self._clock.sleep(POLL_SECONDS)
            for name, followed in self._followed.items():
                self._look(name, followed)

    def _follow(self, name: str, followed: _Followed) -> None:
        self._followed[name] = followed
        self._look(name, followed)

    def _look(self, name: str, followed: _Followed) -> None:
        stamp = tuple(_stamp(path) for path in followed.paths)
        if stamp == followed.stamp:
            return
        followed.stamp = stamp
        try:
            texts = [_read(path) for path in followed.paths]
        except (OSError, ValueError) as error:
            metrics.FILE_FAILURES.inc()
            logger.warning("secret file not read", extra={"secret": name, "reason": str(error)})
            return
        self._served.put(followed.build(texts))


def provided(*, besides: str = "") -> tuple[Path, Path, Path] | None:
    """Return chain, key and roots of a certificate that the pod was given, if it was given one.

    `besides` is a folder whose certificate is renewed by us, and only proves who asks.
    """
    for folder in _PROVIDED:
        if besides and folder.resolve() == Path(besides).resolve():
            continue
        files = tuple(folder / name for name in ("cert-chain.pem", "key.pem", "root-cert.pem"))
        if all(path.exists() for path in files):
            return files[0], files[1], files[2]
    return None


def keep_all(folder: Path, *, chain: str, key: str, roots: str, group: bool = False) -> bool:
    """Write as `write_all` does; a disk that is full costs only that: traffic goes on.

    Returns whether it was written.
    """
    try:
        write_all(folder, chain=chain, key=key, roots=roots, group=group)
    except OSError as error:
        metrics.FILE_FAILURES.inc()
        extra = {"path": str(folder), "reason": str(error)}
        logger.warning("certificate not written", extra=extra)
        return False
    return True


def write_all(folder: Path, *, chain: str, key: str, roots: str, group: bool = False) -> None:
    """Write a certificate for others in the pod, and for the agent after a restart.

    Its files change together, or not at all: as where kubelet mounts a Secret, they are links that
    lead through one link, which is moved. A key beside another key's certificate would lock a
    machine out whose token has expired. Only our own user may read them, and with `group` the
    folder's group.

    Raises:
        OSError: the folder cannot be written.

    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"cert-chain.pem": chain, "key.pem": key, "root-cert.pem": roots}
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    if group:
        fresh.chmod(0o2750)  # what is made in it has its group
    for name, text in texts.items():
        _write_private(fresh / name, text, 0o640 if group else 0o600)
    _link(folder / _DATA, fresh.name)
    for name in texts:
        _link(folder / name, f"{_DATA}/{name}")
    for path in folder.iterdir():
        if path.name.startswith("..") and path.name not in {_DATA, fresh.name}:
            shutil.rmtree(path, ignore_errors=True)


def _write_private(path: Path, text: str, mode: int) -> None:
    path.touch(mode=mode)
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _link(path: Path, target: str) -> None:
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(path)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> bytes:
    if path.stat().st_size > MAX_FILE_BYTES:
        message = f"{path} is longer than {MAX_FILE_BYTES} bytes"
        raise ValueError(message)
    text = path.read_bytes()
    if b"-----END " not in text:
        message = f"{path} is not PEM"
        raise ValueError(message)
    return text


def _system_bundle() -> str:
    paths = (ssl.get_default_verify_paths().cafile, *_SYSTEM_BUNDLES)
    return next((path for path in paths if path and Path(path).exists()), _SYSTEM_BUNDLES[0])
