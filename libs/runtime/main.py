"""Main: the life of a process, the same for every service.

`python -m services.X` reads the settings once, logs JSON, runs `serve` until it ends or a signal
cancels it, and says by its exit code how it went: 0 done or stopped by a signal, 1 crashed,
2 the settings are wrong. This is the only place that reads the environment.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NoReturn, TypeVar

import msgspec
from msgspec import Struct

from libs.runtime import logs, undumpable, watchdog
from libs.runtime.settings import SettingsError, describe, dump, load
from libs.runtime.tasks import Group, leaves

S = TypeVar("S", bound=Struct)
Serve = Callable[[S], Awaitable[None]]
logger = logging.getLogger(__name__)

# gRPC would write a line of its own format about each failed handshake of a stranger. It reads this
# when it is first imported, so this module comes before the service's own in `__main__`.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251  # the one place

STOPPED, CRASHED, MISUSED = 0, 1, 2


def run(
    service: str,
    settings_type: type[S],
    serve: Serve[S],
    *,
    arguments: Sequence[str] | None = None,
    fast_loop: bool = True,
) -> NoReturn:
    """Run `serve` as the whole of this process, then exit.

    Every service has a private key, so its memory is closed to others of its user before it begins.

    Args:
        service: the name in the logs.
        settings_type: the Struct to read from the environment.
        serve: runs until cancelled; returning is a normal end.
        arguments: what is left of the command line after the service took its own; None: all of it.
        fast_loop: use uvloop if it is installed. It costs a few megabytes.

    """
    given = sys.argv[1:] if arguments is None else arguments
    environ = os.environ  # noqa: TID251  # the one place
    try:
        _answer_help(service, settings_type, given)
        settings = _settings(settings_type, given, environ)
        logs.configure(service, str(getattr(settings, "log_level", "info")))
    except (SettingsError, ValueError) as error:
        sys.stderr.write(f"{service}: {error}\n")
        sys.exit(MISUSED)
    undumpable.forbid_dumps()
    sys.exit(_run_loop(serve, settings, fast_loop=fast_loop))


def _answer_help(service: str, settings_type: type[Struct], arguments: Sequence[str]) -> None:
    if {"-h", "--help"}.isdisjoint(arguments):
        return
    sys.stdout.write(_help(service, settings_type))
    sys.exit(STOPPED)


def _settings(settings_type: type[S], arguments: Sequence[str], environ: Mapping[str, str]) -> S:
    unknown = [argument for argument in arguments if argument != "--print-settings"]
    if unknown:
        message = f"unknown argument {unknown[0]!r}; settings are environment variables, see --help"
        raise SettingsError(message)
    settings = load(settings_type, environ)
    if "--print-settings" in arguments:
        text = msgspec.json.format(msgspec.json.encode(dump(settings)), indent=2)
        sys.stdout.write(text.decode() + "\n")
        sys.exit(STOPPED)
    return settings


def _help(service: str, settings_type: type[Struct]) -> str:
    lines = [
        f"seine {service}: set by environment variables; --print-settings shows them.",
        "",
    ]
    for setting in describe(settings_type):
        default = "required" if setting.required else f"default {setting.default!r}"
        lines.append(f"  {setting.variable} ({setting.type}, {default})")
        if setting.doc:
            lines.append(f"      {setting.doc}")
    return "\n".join(lines) + "\n"


def _run_loop(serve: Serve[S], settings: S, *, fast_loop: bool) -> int:
    with asyncio.Runner(loop_factory=_loop_factory(fast_loop=fast_loop)) as runner:
        try:
            runner.run(_until_stopped(serve, settings))
        except BaseException as error:  # the process ends here, whatever it was
            for leaf in leaves(error):
                logger.exception("process crashed", exc_info=leaf)
            return CRASHED
    logger.info("process stopped")
    return STOPPED


async def _until_stopped(serve: Serve[S], settings: S) -> None:
    """Run `serve` beside the watchdog; SIGTERM and SIGINT cancel it, which is a normal end."""
    stopping = False

    def stop() -> None:
        nonlocal stopping
        stopping = True
        work.cancel()

    loop = asyncio.get_running_loop()
    async with Group() as group:
        watching = group.create_task(watchdog.PROCESS.run(), name="watchdog")
        work = group.create_task(_call(serve, settings), name="serve")
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        with contextlib.suppress(asyncio.CancelledError):
            await work
        watching.cancel()
    if work.cancelled() and not stopping:
        message = "serve was cancelled, but not by a signal"
        raise RuntimeError(message)


async def _call(serve: Serve[S], settings: S) -> None:
    await serve(settings)


def _loop_factory(*, fast_loop: bool) -> Callable[[], asyncio.AbstractEventLoop] | None:
    if not fast_loop:
        return None
    try:
        import uvloop  # noqa: PLC0415  # optional
    except ImportError:
        return None
    return uvloop.new_event_loop
