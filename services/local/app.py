"""Wiring of local mode: the mode, the run directory, the machine, and what is watched meanwhile."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

from libs.runtime import localmesh
from libs.runtime.build import version
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import background, leaves
from services.local import advice, follow, manifests, mode, rundir
from services.local.addresses import AddressError
from services.local.controlplane import CONFIG_PUSH, DISCOVERY
from services.local.health import NotReadyError
from services.local.kubelet import Witnesses
from services.local.machine import Machine
from services.local.mode import ModeError
from services.local.network import NetworkError
from services.local.observer import Observer
from services.local.options import Options
from services.local.processes import Died
from services.local.report import Reporter
from services.local.rundir import AlreadyRunningError, RunDirectory
from services.local.screen import Screen
from services.local.supervisor import OnDeath, StartError, supervising
from services.local.verdict import Fate

RIGHT, WRONG, UNABLE = 0, 1, 2
_OBSTACLES = (
    AddressError,
    AlreadyRunningError,
    ModeError,
    NetworkError,
    NotReadyError,
    StartError,
)
_REDRAW_SECONDS = 0.5
_FIRST_CALLS_SECONDS = 6.0


async def run(options: Options) -> int:
    """Run the mesh until cancelled, or with `once` until it is known to be right.

    Returns the status to exit with; when this returns or raises, nothing is left but the logs.
    """
    screen = Screen()
    screen.title(f"Seine {version()}: the whole mesh on this machine")
    try:
        async with AsyncExitStack() as stack:
            return await Local(options, screen, stack).run()
    except BaseExceptionGroup as group:
        return _explain(group, screen)
    except _OBSTACLES as error:
        screen.bad(str(error))
        return UNABLE
    finally:
        screen.close()


def _explain(group: BaseExceptionGroup[BaseException], screen: Screen) -> int:
    """Say what stopped the run, if it is of the kinds that people can do something about."""
    known, other = group.split(_OBSTACLES)
    if other is not None:
        raise other
    for error in leaves(known or group):
        screen.bad(str(error))
    return UNABLE


class Local:
    """One run of local mode."""

    def __init__(self, options: Options, screen: Screen, stack: AsyncExitStack) -> None:
        self._options = options
        self._screen = screen
        self._stack = stack
        self._clock: Clock = SystemClock()
        self._good = False
        self._stamp = manifests.NOTHING

    async def run(self) -> int:
        """Bring everything up, watch it, and return the status."""
        options, screen, clock = self._options, self._screen, self._clock
        choice = await mode.choose(options.mode)
        screen.fact("mode", choice.reason)
        directory = self._claim()
        screen.fact("manifests", _short(options.manifests))
        self._stamp = manifests.stamp(options.manifests)  # before reading: nothing is missed
        application = manifests.read(options.manifests)
        machine = Machine(options, choice.mode, run=directory, clock=clock)
        await machine.lay_out(application, self._stack)
        observer = Observer(application, clock)
        reporter = Reporter(screen, observer, clock)
        again = self._again(machine, reporter)
        supervisor = await self._stack.enter_async_context(supervising(directory, again))
        self._stack.callback(reporter.end)
        await machine.start_control_plane(supervisor, screen.fact)
        screen.fact("control plane", "ca, discovery, config-push: separate processes, mutual TLS")
        await self._follow(machine, reporter)
        with screen.busy(f"starting {len(application.pods)} workloads"):
            witnesses = Witnesses(on_log=observer.log, on_line=observer.line)
            await machine.start_workloads(supervisor, witnesses)
        proxies = sum(pod.sidecar for pod in application.pods)
        screen.fact("workloads", f"{len(application.pods)}, {proxies} of them with agent and Envoy")
        localmesh.write(machine.describe(version()))
        screen.fact("logs", _short(directory.logs))
        reporter.begin()
        self._good = True
        if options.once:
            return await self._once(observer, reporter)
        return await self._stay(machine, observer, reporter)

    async def _stay(self, machine: Machine, observer: Observer, reporter: Reporter) -> NoReturn:
        """Say what to try, and show the table until the end."""
        await self._first_calls(observer)
        mesh = localmesh.load(machine.state_file)
        self._screen.lines(advice.lines(mesh, observer.application, observer.samples))
        try:
            await self._watch(machine, observer, reporter)
        finally:
            self._screen.close(reporter.table())

    async def _first_calls(self, observer: Observer) -> None:
        """Wait a moment for calls of each kind, which the advice repeats."""
        deadline = self._clock.monotonic() + _FIRST_CALLS_SECONDS
        wanted = {Fate.ALLOWED, Fate.DENIED, Fate.REFUSED}
        while not wanted <= observer.samples.keys() and self._clock.monotonic() < deadline:
            await self._clock.sleep(_REDRAW_SECONDS)

    def _again(self, machine: Machine, reporter: Reporter) -> OnDeath:
        """Return what is done whenever a process has died: say so, and when it is back."""

        async def died(death: Died) -> None:
            reporter.died(death)
            if self._good and await machine.again(death.name):
                reporter.back(death.name)

        return died

    def _claim(self) -> RunDirectory:
        directory, ended = rundir.claim(self._options.run_directory)
        self._stack.callback(self._leave, directory)
        if ended:
            self._screen.fact("cleaned up", f"{len(ended)} processes of a run that was killed")
        return directory

    async def _follow(self, machine: Machine, reporter: Reporter) -> None:
        """Follow the mesh, its problems and its receipts as an operator, until the run ends."""
        svid = follow.operator(machine.ca, machine.credentials, self._clock)
        follower = follow.Follower(svid, self._clock)
        servers = machine.control_plane.servers
        await self._stack.enter_async_context(
            background(
                svid.run(),
                machine.issuer.run(),
                follower.mesh(servers[DISCOVERY], reporter.mesh),
                follower.problems(servers[DISCOVERY], reporter.problems),
                follower.receipts(servers[CONFIG_PUSH], reporter.receipt),
            )
        )

    def _leave(self, directory: RunDirectory) -> None:
        directory.close(keep_logs=not self._good)
        if not self._good:
            self._screen.fact("logs", f"kept in {_short(directory.logs)}")

    async def _watch(self, machine: Machine, observer: Observer, reporter: Reporter) -> NoReturn:
        """Show the table, and follow when Pods and Services come and go."""
        folder = self._options.manifests
        while True:
            reporter.show()
            await self._clock.sleep(_REDRAW_SECONDS)
            if (now := manifests.stamp(folder)) == self._stamp:
                continue
            self._stamp = now
            application = manifests.read(folder).over(observer.application)
            if application != observer.application:
                observer.take_application(application)
                for done in await machine.follow(application):
                    self._screen.good(done)
                localmesh.write(machine.describe(version()))

    async def _once(self, observer: Observer, reporter: Reporter) -> int:
        """Watch until all is right, or time is up; say which."""
        deadline = self._clock.monotonic() + self._options.once_seconds
        while not observer.complete() and self._clock.monotonic() < deadline:
            reporter.show()
            await self._clock.sleep(_REDRAW_SECONDS)
        self._screen.close(reporter.table())
        self._good = reporter.conclude()
        return RIGHT if self._good else WRONG


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
