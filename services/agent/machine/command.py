"""Command: `agent machine proxy` and `agent machine init`, which become `proxy` and `init`.

They read the files that were brought, add what the machine knows itself, and go on as the command
that they stand for: nothing that reads files stays in memory. `init` needs root, `proxy` runs as
user and group 1337, whose connections are left alone by the rules. Who starts them, and again when
they end, is the machine's own business, systemd's for one.
"""

import argparse
import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.agent.machine import environment
from services.agent.machine.environment import BroughtError, Host, Places

MISUSED = 2
COMMANDS: dict[str, tuple[str, ...]] = {"proxy": ("proxy", "sidecar"), "init": ("init",)}
_ANY_PORT = 9  # nothing is sent


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Become the command that `arguments` name; returns only if that cannot be."""
    parser = argparse.ArgumentParser(
        "agent machine", description="Run on a machine, from the files that were brought there."
    )
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument(
        "--folder",
        type=Path,
        help="where cluster.env, mesh.yaml, istio-token and root-cert.pem lie"
        " (default: where Istio's documents have them copied)",
    )
    flags, others = parser.parse_known_args(arguments)
    places = environment.in_folder(flags.folder.absolute()) if flags.folder else environment.ISTIO
    try:
        told = _told(places, environ)
        if flags.command == "proxy":
            bring_roots(places)
    except BroughtError as error:
        sys.stderr.write(f"agent machine: {error}\n")
        return MISUSED
    return _become([*COMMANDS[flags.command], *others], {**told, **environ})


def bring_roots(places: Places) -> None:
    """Lay the roots that were brought where renewals keep them, if they are newer than those.

    Raises:
        BroughtError: there are no roots, or no place for them.

    """
    kept = places.kept / "root-cert.pem"
    try:
        if kept.exists() and kept.stat().st_mtime >= places.roots.stat().st_mtime:
            return
        places.kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        kept.unlink(missing_ok=True)  # a link to what the last renewal wrote
        shutil.copyfile(places.roots, kept)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}"
        raise BroughtError(message) from error


def _told(places: Places, environ: Mapping[str, str]) -> dict[str, str]:
    brought = environment.variables(places.variables)
    proxy = environment.proxy_config(places.mesh)
    named = environ.get("INSTANCE_IP") or brought.get("ISTIO_SVC_IP")
    host = Host(socket.gethostname().partition(".")[0], named or _own_address(proxy))
    return environment.environment(places, brought, proxy, host=host)


def _own_address(proxy: Mapping[str, Any]) -> str:
    """Return the address with which the machine speaks to the control plane."""
    host = environment.discovery_host(proxy)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, _ANY_PORT, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as asked:
            asked.connect(address)
            return str(asked.getsockname()[0])
    except OSError as error:
        message = f"{host}: {error.strerror}; is it in /etc/hosts? (or set ISTIO_SVC_IP)"
        raise BroughtError(message) from error


def _become(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Go on as another command; its status is this process's."""
    sys.stdout.flush()
    # This very interpreter, with words of ours.
    line = [sys.executable, "-m", "services.agent", *words]
    os.execve(sys.executable, line, dict(environ))  # noqa: S606
