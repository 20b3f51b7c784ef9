"""`seinectl exec`: run a command where a workload runs, so that its calls are that workload's.

With namespaces the command enters the pod's; on loopback it is given the pod's proxy and addresses
by the environment, as the pod's own program is.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from services.ctl import mesh, output


def run(state: Path | None, proxy: str, command: Sequence[str]) -> NoReturn:
    """Become the command; only an error returns."""
    local = mesh.find(state)
    workload = mesh.workload(local, mesh.full_name(local, proxy))
    words = list(command[1:] if command[0] == "--" else command)
    if not words:
        output.fail("no command", hint="seinectl exec POD.NAMESPACE -- COMMAND …")
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
