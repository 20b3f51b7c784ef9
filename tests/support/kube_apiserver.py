"""A real etcd and kube-apiserver of our own, on loopback and in a temporary folder.

`make tools` builds them; without them a test is skipped and says so. Ready in about two seconds.
"""

import contextlib
import json
import secrets
import ssl
import subprocess
import time
from collections.abc import Iterator
from http.client import HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.ports import free_ports
from tests.tools.kubernetes import build

START_SECONDS = 60
GENTLE_SECONDS = 2.0
JSON = "application/json"
AUDIT_LOG = "audit.log"
APPLY = "application/apply-patch+yaml"

Answer = tuple[int, dict[str, Any]]


def binary(name: str) -> str:
    """Return the path of etcd or kube-apiserver, or skip the test."""
    found = build.find(name)
    if found is None:
        pytest.skip(f"no {name} on this machine: make tools builds it")
    return str(found)


class ApiServer:
    """One running API server, and a client of it that may do everything."""

    def __init__(self, port: int, token: str, authority: Path) -> None:
        self.port = port
        self.token = token
        self.authority = authority

    def request(self, method: str, path: str, body: object = None, kind: str = JSON) -> Answer:
        """Return the status and the JSON of an answer."""
        context = ssl.create_default_context(cafile=str(self.authority))
        connection = HTTPSConnection("127.0.0.1", self.port, context=context, timeout=30)
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        is_json = answer.headers.get_content_type() == JSON
        return answer.status, json.loads(content) if is_json else {"text": content.decode()}

    def get(self, path: str) -> Answer:
        """Read an object or a list."""
        return self.request("GET", path)

    def create(self, path: str, body: object) -> Answer:
        """Create an object below a path."""
        return self.request("POST", path, body)

    @property
    def is_ready(self) -> bool:
        """Whether it says so itself."""
        with contextlib.suppress(OSError, HTTPException):
            return self.request("GET", "/readyz")[0] == 200
        return False


@contextlib.contextmanager
def running(folder: Path, audit_policy: str = "") -> Iterator[ApiServer]:
    """Run an API server until the block ends.

    With a policy it writes its audit log to `audit.log`.
    """
    etcd, apiserver = binary("etcd"), binary("kube-apiserver")
    client, peer, port = free_ports(3)
    token = secrets.token_hex(16)
    (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
    _write_key(folder / "accounts.key")
    options = _apiserver_options(folder, port, client)
    with (
        _process(folder, [etcd, *_etcd_options(folder, client, peer)]),
        _process(folder, [apiserver, *options, *_audit(folder, audit_policy)]) as process,
    ):
        server = ApiServer(port, token, folder / "certificates" / "apiserver.crt")
        _wait(server, process, folder / "kube-apiserver.log")
        yield server


def _etcd_options(folder: Path, client: int, peer: int) -> list[str]:
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls=http://127.0.0.1:{client}",
        f"--advertise-client-urls=http://127.0.0.1:{client}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
    ]


def _apiserver_options(folder: Path, port: int, etcd: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--cert-dir={folder / 'certificates'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/12",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
    ]


def _audit(folder: Path, policy: str) -> list[str]:
    if not policy:
        return []
    (folder / "audit.yaml").write_text(policy)
    log = folder / AUDIT_LOG
    return [f"--audit-policy-file={folder / 'audit.yaml'}", f"--audit-log-path={log}"]


@contextlib.contextmanager
def _process(
    folder: Path, command: list[str], *, gently: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{Path(command[0]).name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            _end(process, gently=gently)


def _end(process: subprocess.Popen[bytes], *, gently: bool) -> None:
    """End a process. An API server that is asked to end first waits for all who watch it."""
    if gently:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GENTLE_SECONDS)
    process.kill()
    process.wait()


def _wait(server: ApiServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (server.authority.exists() and server.is_ready):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
            raise AssertionError(f"kube-apiserver did not become ready:\n{tail}")
        time.sleep(0.1)  # nothing in an API server tells when it is ready, so it is asked


def _write_key(path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    )
