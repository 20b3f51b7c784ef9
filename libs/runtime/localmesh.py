"""LocalMesh: where the mesh of this machine is, written by local mode and read by `seinectl`.

One JSON file in the run directory, which is looked for in the working directory and above it, as
git looks for its own. It is written whole or not at all, and removed when the mesh ends; a reader
that finds one must still expect that nobody is there, because a machine can lose power.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

RUN_DIRECTORY = Path(".run", "local")
STATE_FILE = "state.json"


class Server(Struct, frozen=True, kw_only=True):
    """One process of the control plane."""

    grpc: str = ""  # host:port
    monitoring: str = ""  # host:port of /metrics, /ready, /version and debug pages
    server_name: str = ""  # the name that its certificate carries
    log: str = ""


class LocalWorkload(Struct, frozen=True, kw_only=True):
    """One pod with a sidecar. Addresses are as seen from inside its namespace, if it has one."""

    address: str
    admin: str  # host:port of Envoy's admin page
    status: str  # host:port of the agent's status server
    proxy: str = ""  # URL of the HTTP proxy; empty where connections are intercepted
    namespace_pid: int = 0  # a process in its network namespace; 0: it has none
    log: str = ""
    names: Mapping[str, str] = {}  # variables that stand in for names: CATALOG_SERVICE_HOST


class LocalMesh(Struct, frozen=True, kw_only=True):
    """A running mesh. Paths are absolute."""

    pid: int
    version: str
    mode: str
    run_directory: str
    manifests: str
    trust_domain: str
    system_namespace: str
    redis: str  # host:port, or empty if none runs
    credentials: str  # directory with key.pem, cert-chain.pem, root-cert.pem of an operator
    token_file: str  # of the operator, for debug pages
    servers: Mapping[str, Server]  # ca, discovery, config-push
    workloads: Mapping[str, LocalWorkload]  # by <name>.<namespace>


class NoMeshError(Exception):
    """No mesh runs here; the message says how to start one."""


def write(mesh: LocalMesh) -> None:
    """Write the state file of `mesh` into its run directory, atomically."""
    path = Path(mesh.run_directory, STATE_FILE)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(mesh), indent=2))
    temporary.replace(path)


def find(start: Path) -> Path | None:
    """Return the state file in `start` or the nearest directory above it, if there is one."""
    for directory in (start, *start.parents):
        path = directory / RUN_DIRECTORY / STATE_FILE
        if path.is_file():
            return path
    return None


def load(path: Path) -> LocalMesh:
    """Return the mesh that a state file describes.

    Raises:
        NoMeshError: there is none, it cannot be read, or its process is gone.

    """
    try:
        mesh = msgspec.json.decode(path.read_bytes(), type=LocalMesh)
    except (OSError, msgspec.DecodeError) as error:
        message = f"{path} cannot be read: {error}"
        raise NoMeshError(message) from error
    if not alive(mesh.pid):
        message = f"the mesh of {mesh.run_directory} has ended (process {mesh.pid} is gone)"
        raise NoMeshError(message)
    return mesh


def alive(pid: int) -> bool:
    """Tell whether a process exists, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
