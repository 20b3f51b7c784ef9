"""The mesh that a command speaks to, and plain HTTP to its processes.

It is the one whose state file is found in the working directory or above it, or the one that
`--mesh` names. In local mode an Envoy's admin page may stand in a network namespace, which only
root may enter: then the thread that asks goes in, asks, and ends.
"""

import ctypes
import http.client
import os
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from libs.runtime import localmesh
from libs.runtime.localmesh import LocalMesh, LocalWorkload, NoMeshError
from services.ctl import output

T = TypeVar("T")
TIMEOUT_SECONDS = 10.0
MAX_BODY_BYTES = 256 * 1024 * 1024
_CLONE_NEWNET = 0x40000000
NO_HEADERS: Mapping[str, str] = {}
_HOW_TO_START = (
    "Start one with `make demo`, or `python -m services.local --manifests DIR`.\n"
    "A mesh in another directory: seinectl COMMAND --mesh PATH/.run/local/state.json\n"
    "A mesh in a cluster: seinectl COMMAND --kubeconfig FILE [--context NAME]"
)


class RequestError(Exception):
    """A process of the mesh did not answer, or answered with an error; the message says which."""


def find(given: Path | None) -> LocalMesh:
    """Return the running mesh, or end the command and say how to start one."""
    path = given or localmesh.find(Path.cwd())
    if path is None:
        output.fail("no mesh runs here", hint=_HOW_TO_START)
    try:
        return localmesh.load(path)
    except NoMeshError as error:
        output.fail(f"no mesh runs here: {error}", hint=_HOW_TO_START)


def workload(mesh: LocalMesh, name: str) -> LocalWorkload:
    """Return a workload by `<pod>.<namespace>`, or end the command and name those there are."""
    found = mesh.workloads.get(name) or mesh.workloads.get(_only_match(mesh.workloads, name))
    if found is None:
        output.fail(f"no proxy {name!r}", hint="There are: " + " ".join(sorted(mesh.workloads)))
    return found


def full_name(names: Collection[str], name: str, namespace: str = "") -> str:
    """Return `<pod>.<namespace>` for a name that leaves out the namespace or the version.

    `namespace` is that of a name without one.
    """
    if namespace and "." not in name:
        name = f"{name}.{namespace}"
    return name if name in names else _only_match(names, name) or name


def _only_match(names: Collection[str], name: str) -> str:
    pod, _, namespace = name.partition(".")
    matches = [
        key
        for key in names
        if key.partition(".")[0].startswith(pod)
        and (not namespace or key.partition(".")[2] == namespace)
    ]
    exact = [key for key in matches if key.partition(".")[0] == pod]
    found = exact or matches
    return found[0] if len(found) == 1 else ""


def get_debug(mesh: LocalMesh, server: str, path: str) -> bytes:
    """Return the body of a page of the control plane, which the operator's token opens.

    Raises:
        RequestError: nobody answered, or not with 200.

    """
    try:
        token = Path(mesh.token_file).read_text()
    except OSError:
        token = ""  # a mesh on loopback addresses needs none
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return _get(mesh.servers[server].monitoring, path, headers)


def get(address: str, path: str, *, namespace_pid: int = 0) -> bytes:
    """Return the body of a page.

    Raises:
        RequestError: nobody answered, or not with 200.

    """
    if not namespace_pid:
        return _get(address, path)
    return _inside(namespace_pid, lambda: _get(address, path))


def _get(address: str, path: str, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        body = response.read(MAX_BODY_BYTES)
    except (OSError, http.client.HTTPException) as error:
        message = f"http://{address}{path}: {error}"
        raise RequestError(message) from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        text = body[:200].decode(errors="replace").strip()
        message = f"http://{address}{path} answered {response.status}: {text}"
        raise RequestError(message)
    return body


def _inside(pid: int, ask: Callable[[], T]) -> T:
    """Run `ask` in a thread that has entered the network namespace of a process."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            _enter(pid)
            results.append(ask())
        except (RequestError, OSError) as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        if isinstance(errors[0], RequestError):
            raise errors[0]
        message = f"cannot enter the pod's network namespace ({errors[0]}): run seinectl as root"
        raise RequestError(message) from errors[0]
    return results[0]


def _enter(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        if libc.setns(descriptor, _CLONE_NEWNET):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
    finally:
        os.close(descriptor)
