"""`python -m services.local`, which is `make demo`."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable

from libs.runtime.tasks import Group
from services.local import app
from services.local.options import Options, parse


def main() -> None:
    """Run until told to end; exit 0 if all was right, 1 if not, 2 if it could not run at all."""
    options = parse(sys.argv[1:])
    with asyncio.Runner() as runner:
        sys.exit(runner.run(_until_told(options)))


async def _until_told(options: Options) -> int:
    """Run, and on the first signal end in order; further ones cannot hurry that."""
    async with Group() as group:
        work = group.create_task(app.run(options))
        end = _ending(work)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, end)
        with contextlib.suppress(asyncio.CancelledError):
            return await work
    return 1 if options.once else 0


def _ending(work: asyncio.Task[int]) -> Callable[[], None]:
    asked = False

    def end() -> None:
        nonlocal asked
        if not asked:
            asked = True
            work.cancel()

    return end


if __name__ == "__main__":
    main()
