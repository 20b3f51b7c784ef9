"""Probe: the readiness probe of a WorkloadGroup, as it stands in ProxyConfig's `readinessProbe`.

The ways of kubelet's probes are those of `services.agent.probes`; a machine's agent may also run a
command. Zero means absent, as it does in protobuf.
"""

import asyncio
import contextlib

from msgspec import Struct

from services.agent.http.server import Asked
from services.agent.probes import Probe, Prober

MAX_SAID = 200
"""Bytes of a bad answer that are repeated."""
_USER_AGENT = "istio-probe/1.0"


class Exec(Struct, frozen=True):
    """Run a command; status 0 is well."""

    command: tuple[str, ...] = ()


class ReadinessProbe(Probe, frozen=True, rename="camel"):
    """What to ask, and how often."""

    exec: Exec | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 0
    success_threshold: int = 0
    failure_threshold: int = 0

    @property
    def seconds(self) -> float:
        """For how long an answer is waited for."""
        return self.timeout_seconds or 1.0

    @property
    def period(self) -> float:
        """From one probe to the next."""
        return self.period_seconds or 10.0


async def failure(probe: ReadinessProbe, prober: Prober) -> str:
    """Return why the workload is not well; empty if it is."""
    if probe.exec is not None:
        return await _run(probe.exec.command, probe.seconds)
    headers = {"user-agent": _USER_AGENT}
    asked = Asked(method="GET", path="/", query="", headers=headers, local=True)
    answer = await prober.made(probe, asked)
    if 200 <= answer.status < 400:
        return ""
    body = answer.body if isinstance(answer.body, bytes) else b""
    said = body[:MAX_SAID].decode(errors="replace").strip()
    return f"status {answer.status}: {said}" if said else f"status {answer.status}"


async def _run(command: tuple[str, ...], seconds: float) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except (OSError, ValueError) as error:
        return f"the command cannot be run: {error}"
    try:
        async with asyncio.timeout(seconds):
            status = await process.wait()
    except TimeoutError:
        return f"the command takes longer than {seconds:g} seconds"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    return f"the command ended with {status}" if status else ""
