"""A real API server and etcd whose parts stop, start, lose history and are restored on demand."""

import contextlib
import json
import secrets
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.support import kube_apiserver
from tests.support.kube_apiserver import ApiServer, binary
from tests.support.ports import free_ports


class Machine:
    """Both processes, on ports that stay. Make it with `machine`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._client, self._peer, self._port = free_ports(3)
        self._stack = {"etcd": contextlib.ExitStack(), "kube-apiserver": contextlib.ExitStack()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        token = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
        kube_apiserver._write_key(folder / "accounts.key")
        self.server = ApiServer(self._port, token, folder / "certificates" / "apiserver.crt")
        self.extra: tuple[str, ...] = ()
        """Further options of the API server, from its next start on."""

    def start(self) -> None:
        """Start both, and wait until the API server is ready."""
        self.start_etcd()
        self.start_apiserver()

    def stop(self) -> None:
        """Stop both."""
        self.stop_apiserver()
        self.stop_etcd()

    def start_etcd(self) -> None:
        options = kube_apiserver._etcd_options(self._folder, self._client, self._peer)
        self._run("etcd", options)

    def start_apiserver(self) -> None:
        options = kube_apiserver._apiserver_options(self._folder, self._port, self._client)
        process = self._run("kube-apiserver", [*options, *self.extra])
        log = self._folder / "kube-apiserver.log"
        kube_apiserver._wait(self.server, process, log)

    def stop_etcd(self) -> None:
        self._stack["etcd"].close()

    def stop_apiserver(self) -> None:
        self._stack["kube-apiserver"].close()

    def pause_etcd(self) -> None:
        """Stop etcd in its tracks: connections are open, and nothing is answered."""
        self._processes["etcd"].send_signal(signal.SIGSTOP)

    def resume_etcd(self) -> None:
        self._processes["etcd"].send_signal(signal.SIGCONT)

    def back_up(self) -> None:
        """Keep a copy of etcd's data; etcd must be stopped."""
        shutil.copytree(self._folder / "etcd", self._folder / "backup", dirs_exist_ok=True)

    def restore(self) -> None:
        """Let etcd's data be what they were; etcd must be stopped."""
        shutil.rmtree(self._folder / "etcd")
        shutil.copytree(self._folder / "backup", self._folder / "etcd")

    def compact(self) -> int:
        """Make etcd forget all history, and return the revision up to which it has."""
        found = self._etcd("/v3/kv/range", {"key": "AA==", "limit": "1"})
        revision = int(found["header"]["revision"])
        self._etcd("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def _run(self, name: str, options: list[str]) -> subprocess.Popen[bytes]:
        running = kube_apiserver._process(self._folder, [binary(name), *options], gently=True)
        self._processes[name] = self._stack[name].enter_context(running)
        return self._processes[name]

    def _etcd(self, path: str, body: object) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(  # a fixed address
            f"http://127.0.0.1:{self._client}{path}", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            found: dict[str, dict[str, str]] = json.load(answer)
            return found


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Yield a machine that runs; whatever still runs at the end is stopped."""
    found = Machine(folder)
    found.start()
    try:
        yield found
    finally:
        found.stop()
