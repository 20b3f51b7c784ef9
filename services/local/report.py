"""The report: turns what happens into lines on the screen, and each thing into one line only."""

from collections.abc import Sequence

from rich.console import RenderableType

from libs.api.problem import Problem
from libs.model.mesh import Mesh
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.runtime.clock import Clock
from services.local import screen as screens
from services.local.controlplane import CONFIG_PUSH
from services.local.observer import Observer
from services.local.processes import Died
from services.local.rows import Mark
from services.local.screen import Screen

_MAX_EXAMPLES = 10


class Reporter:
    """Knows what was said already."""

    def __init__(self, screen: Screen, observer: Observer, clock: Clock) -> None:
        self._screen = screen
        self._observer = observer
        self._clock = clock
        self._problems: frozenset[Problem] = frozenset()
        self._receipts: set[int] = set()
        self._from: float | None = None
        self._ending = False
        self._told_lost = 0
        self._down: dict[str, float] = {}

    def end(self) -> None:
        """From now on processes end because they are told to."""
        self._ending = True

    def begin(self) -> None:
        """Tell of changes from now on; those of the start are no news."""
        self._from = self._clock.now()

    def mesh(self, mesh: Mesh) -> None:
        """Take the mesh that discovery has accepted."""
        self._observer.take_mesh(mesh)

    def receipt(self, receipt: Receipt) -> None:
        """Tell of a change once it is settled."""
        if not receipt.settled or receipt.change in self._receipts:
            return
        self._receipts.add(receipt.change)
        self._observer.settled()
        # What discovery read while nobody followed it comes without a time, but it is news too.
        caught_up = not receipt.observed and receipt.sent > 0
        if self._from is not None and (receipt.observed >= self._from or caught_up):
            self._screen.receipt(receipt)

    def problems(self, problems: Sequence[Problem]) -> None:
        """Tell of new mistakes, and of those that are gone."""
        now = frozenset(problems)
        for problem in sorted(now - self._problems):
            self._screen.problem(problem)
        gone = {problem.ref or problem.file for problem in self._problems - now}
        for subject in sorted(gone - {problem.ref or problem.file for problem in now}):
            self._screen.good(f"mended: {subject}")
        self._problems = now

    def died(self, died: Died) -> None:
        """Tell that a process has died, and that it is started again."""
        if self._ending:
            return
        again = ", started again" if died.restarting else ""
        self._screen.bad(f"{died.name} {died.how}{again}")
        self._down.setdefault(died.name, self._clock.monotonic())

    def back(self, name: str) -> None:
        """Tell that a process that had died is ready again."""
        since = self._down.pop(name, None)
        if since is not None:
            seconds = self._clock.monotonic() - since
            lost = len(self._observer.lost)
            told = f"{lost} calls lost so far" if lost else "no call was lost"
            who = " and has all its proxies" if name == CONFIG_PUSH else ""
            self._screen.good(f"{name} is ready again{who} after {seconds:.1f} s; {told}")

    def show(self) -> None:
        """Draw the table, and tell of calls that were lost since the last time."""
        lost = self._observer.lost
        for example in lost[self._told_lost :][:_MAX_EXAMPLES]:
            self._screen.bad(f"lost: {example}")
        self._told_lost = len(lost)
        self._screen.show(self.table())

    def table(self) -> RenderableType:
        """Return the table as it is now."""
        observer = self._observer
        lost = len(observer.lost)
        counted = f"{observer.calls:,} calls between workloads, "
        footer = counted + (f"[bold red]{lost} lost[/]" if lost else "[green]none lost[/]")
        if uncovered := observer.uncovered():
            footer += f" · [yellow]waiting for[/] {', '.join(uncovered[:4])}"
        return screens.table(observer.rows(), observer.splits(), footer, wide=self._screen.wide)

    def conclude(self) -> bool:
        """Print how a run with `--once` ended; return whether all was right."""
        observer = self._observer
        right = observer.complete()
        if right:
            rows, splits = observer.rows(), observer.splits()
            self._screen.good(
                f"every row is right: {len(rows)} kinds of calls, {len(splits)} shares, "
                f"{observer.calls} calls, none lost"
            )
            return True
        for row in observer.rows():
            if row.mark is not Mark.RIGHT:
                self._screen.bad(
                    f"{row.caller} to {row.callee}:{row.port} is {row.mark}: {row.example}"
                )
        for split in observer.splits():
            if split.mark is not Mark.RIGHT:
                text = f"{split.share:.1f} % of {split.weight:g} %"
                self._screen.bad(f"{split.host} {split.version} is {split.mark}: {text}")
        for missing in observer.uncovered():
            self._screen.bad(f"never seen: {missing}")
        return False
