"""`seinectl exec`: run a command where a workload runs, so that its calls are that workload's.

In a cluster that is the pod's own container, without input or a terminal. On this machine the
command enters the pod's namespace; on loopback it is given the pod's proxy and addresses by the
environment, as the pod's own program is.
"""

import os
from collections.abc import Sequence
from typing import NoReturn

from libs.runtime.localmesh import LocalMesh
from services.ctl import mesh, output
from services.ctl.mesh import RequestError
from services.ctl.opening import opened
from services.ctl.where import Where


def run(where: Where, proxy: str, command: Sequence[str]) -> int:
    """Run the command, and return its exit status."""
    words = list(command[1:] if command[0] == "--" else command)
    if not words:
        output.fail("no command", hint="seinectl exec POD.NAMESPACE -- COMMAND …")
    with opened(where) as plane:
        try:
            return plane.execute(plane.full_name(proxy), words)
        except RequestError as error:
            output.fail(str(error))


def become(local: LocalMesh, proxy: str, words: list[str]) -> NoReturn:
    """Become a command on this machine; only an error returns."""
    workload = mesh.workload(local, proxy)
    environment = dict(os.environ)  # noqa: TID251 - handed on to the command
    if workload.namespace_pid:
        if os.geteuid() != 0:
            output.fail("the pod has a network namespace", hint="Run seinectl as root to enter it.")
        pid = str(workload.namespace_pid)
        words = ["nsenter", "--target", pid, "--net", "--mount", "--wd=.", "--", *words]
    else:
        environment |= {"http_proxy": workload.proxy, "no_proxy": "", **workload.names}
    try:
        os.execvpe(words[0], words, environment)  # noqa: S606 - that is what the command is for
    except OSError as error:
        output.fail(f"{words[0]}: {error.strerror}")
