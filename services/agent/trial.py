"""Trial: Envoy reads a configuration and says what it thinks of it, in its mode `validate`.

Nobody else may suffer from that: it has limits of time and CPU, dies with the agent, and is the
first to go when memory runs out. What is tried, and what follows from the answer, is decided by who
asks.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence

from msgspec import Struct

from services.agent.envoy import DIE_WITH_PARENT

MAX_OUTPUT = 64 * 1024

_MODEST = """
import contextlib, resource, sys
seconds = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as adjustment:
    adjustment.write("1000")
"""


class Answer(Struct, frozen=True):
    """How Envoy ended, and what it said."""

    code: int
    """0: it takes it; negative: the signal that ended it."""
    said: str
    """The last MAX_OUTPUT bytes."""


async def tried(line: Sequence[str], *, seconds: float, cpu_seconds: int) -> Answer:
    """Let Envoy, called by `line`, try its configuration.

    It is ended by SIGXCPU after `cpu_seconds` of CPU.

    Raises:
        TimeoutError: there is no answer within `seconds`.
        OSError: it cannot be started.

    """
    first = [sys.executable, "-ISc", _MODEST + DIE_WITH_PARENT, str(cpu_seconds), str(os.getpid())]
    process = await asyncio.create_subprocess_exec(
        *(*first, *line, "--mode", "validate"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        process_group=0,
        limit=MAX_OUTPUT,
    )
    try:
        async with asyncio.timeout(seconds):
            said = await _end_of(process.stderr)
            return Answer(await process.wait(), said)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _end_of(stream: asyncio.StreamReader | None) -> str:
    """Return the last MAX_OUTPUT bytes of what is written until the end."""
    said = b""
    while stream is not None and (piece := await stream.read(MAX_OUTPUT)):
        said = (said + piece)[-MAX_OUTPUT:]
    return said.decode(errors="replace")
