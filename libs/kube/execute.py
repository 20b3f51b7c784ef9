"""Execute: run a command in a container, by way of the API server and the kubelet.

The command gets no input and no terminal. Others look for this as `kubectl exec`.
"""

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from libs.kube import channels
from libs.kube.client import Client
from libs.kube.errors import MalformedError, UnreachableError

STDOUT, STDERR = 1, 2
_STATUS = 3
_MAX_STATUS_BYTES = 64 * 1024
_EXIT_CODE = "ExitCode"

Write = Callable[[int, bytes], None]
"""Takes bytes of STDOUT or STDERR."""


class _Cause(Struct):
    reason: str = ""
    message: str = ""


class _Details(Struct):
    causes: list[_Cause] = []


class _Status(Struct):
    status: str = ""
    message: str = ""
    details: _Details | None = None


async def execute(
    client: Client, namespace: str, pod: str, *, container: str, command: Sequence[str], out: Write
) -> int:
    """Run a command, hand on what it writes, and return its exit status.

    Raises:
        UnreachableError: it was not run, in the kubelet's words, or nobody says how it ended.
        KubeError: as `channels.opened`.

    """
    words = [("command", word) for word in command]
    params = [("container", container), ("stdout", "true"), ("stderr", "true"), *words]
    ended = bytearray()
    async with channels.opened(client, namespace, pod, action="exec", params=params) as streams:
        while (found := await streams.receive()) is not None:
            channel, data = found
            if channel in {STDOUT, STDERR} and data:
                out(channel, data)
            elif channel == _STATUS and len(ended) < _MAX_STATUS_BYTES:
                ended += data
    return _exit_status(bytes(ended))


def _exit_status(raw: bytes) -> int:
    if not raw:
        raise UnreachableError("the connection ended before the command did")
    try:
        found = msgspec.json.decode(raw, type=_Status)
        if found.status == "Success":
            return 0
        causes = found.details.causes if found.details else []
        codes = [int(it.message) for it in causes if it.reason == _EXIT_CODE]
    except (msgspec.DecodeError, ValueError) as error:
        raise MalformedError("nobody can read how the command ended") from error
    if not codes:
        raise UnreachableError(found.message or "the command was not run")
    return codes[0]
