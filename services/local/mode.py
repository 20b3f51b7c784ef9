"""Mode: whether workloads get network namespaces or loopback addresses, decided by trying.

Having a user id of 0 proves nothing in a container, and missing tools are as common as missing
rights. So the probe does in a throwaway namespace what the run will do for each workload, which
leaves nothing behind, and keeps the first thing that failed as the reason to tell the user.
"""

import asyncio
import shutil
from enum import StrEnum

from msgspec import Struct

TOOLS = ("unshare", "nsenter", "setpriv", "mount", "ip", "iptables")
_TRY = """
mount --bind /etc/hostname /etc/hosts &&
ip link set lo up &&
ip link add name probe type bridge &&
ip link add name probe0 type veth peer name probe1 &&
iptables -w -t nat -A OUTPUT -p tcp -m owner --gid-owner 1337 -j REDIRECT --to-ports 15001
"""


class Mode(StrEnum):
    """How workloads are kept apart."""

    NAMESPACES = "namespaces"
    LOOPBACK = "loopback"


class Choice(Struct, frozen=True):
    """A mode, and one line for the user: which, and why."""

    mode: Mode
    reason: str


class ModeError(Exception):
    """The mode that was asked for is impossible here; the message says why."""


_WHAT = {
    Mode.NAMESPACES: "a network namespace per workload, interception as in a pod",
    Mode.LOOPBACK: "a loopback address per workload, explicit proxy ports",
}


async def choose(forced: Mode | None = None) -> Choice:
    """Return the mode to run in: the better one that works, or the one that was forced.

    Raises:
        ModeError: namespaces were forced, but this process may not make them.

    """
    if forced is Mode.LOOPBACK:
        return Choice(forced, f"{_WHAT[forced]} (asked for)")
    obstacle = await _obstacle()
    if not obstacle:
        why = "asked for" if forced else "this process may"
        return Choice(Mode.NAMESPACES, f"{_WHAT[Mode.NAMESPACES]} ({why})")
    if forced:
        message = f"no network namespaces here: {obstacle}"
        raise ModeError(message)
    return Choice(Mode.LOOPBACK, f"{_WHAT[Mode.LOOPBACK]} (no namespaces here: {obstacle})")


async def _obstacle() -> str:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} not installed"
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--net", "--mount", "--propagation", "private", "--", "sh", "-c", _TRY),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    if process.returncode == 0:
        return ""
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the probe ended with {process.returncode}"
