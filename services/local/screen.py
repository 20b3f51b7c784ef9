"""The screen: what a person sees. Events scroll by above, the table below them is always current.

On a terminal the table is redrawn in place; anywhere else (a pipe, a log) events are plain lines
and the table is printed once, at the end.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from libs.api.problem import Problem, Severity
from libs.model import changes
from libs.model.ids import parse_ref
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from services.local.accesslog import NO_RULE
from services.local.rows import Mark, Row, Split
from services.local.verdict import Fate

_SIGNS = {
    Mark.RIGHT: "[green]✓[/]",
    Mark.WRONG: "[bold red]✗[/]",
    Mark.WAITING: "[yellow]…[/]",
}
_PLAIN_WIDTH = 180
_MAX_CAUSES = 6


class Screen:
    """A console, with a live table once there is something to show."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        if not self._console.is_terminal:
            self._console = Console(width=_PLAIN_WIDTH)
        self._live: Live | None = None

    def title(self, text: str) -> None:
        """Print the first line."""
        self._console.print(f"[bold]{escape(text)}[/]")

    def fact(self, name: str, text: str) -> None:
        """Print a fact about the run, under its name."""
        line = f"  [cyan]{name:<13}[/] {escape(text)}"
        self._console.print(line, highlight=False, soft_wrap=True)

    def event(self, text: str, *, sign: str = "•") -> None:
        """Print a line that may hold markup."""
        self._console.print(f"{sign} {text}", highlight=False, soft_wrap=True)

    def good(self, text: str) -> None:
        """Print that something went well."""
        self.event(escape(text), sign="[green]✓[/]")

    def bad(self, text: str) -> None:
        """Print that something went wrong."""
        self.event(escape(text), sign="[bold red]✗[/]")

    def problem(self, problem: Problem) -> None:
        """Print a mistake in the user's files."""
        colour = "red" if problem.severity is Severity.ERROR else "yellow"
        where = f"{_short(problem.file)}:{problem.line}" if problem.file else problem.ref
        subject = " ".join(part for part in (problem.ref, problem.path) if part)
        line = f"[bold]{escape(where)}[/] {escape(subject)}: {escape(problem.text)}"
        self.event(f"{line} [dim]({problem.reason})[/]", sign=f"[{colour}]{problem.severity}[/]")

    def receipt(self, receipt: Receipt) -> None:
        """Print what became of a change."""
        causes = ", ".join(receipt.causes[:_MAX_CAUSES])
        more = len(receipt.causes) - _MAX_CAUSES
        causes += f" and {more} more" if more > 0 else ""
        causes = causes or "made while discovery was away"
        took = f", [bold]{receipt.milliseconds:.0f} ms[/]" if receipt.observed else ""
        rejected = f"[bold red]{receipt.rejected} rejected[/]" if receipt.rejected else "0 rejected"
        self.event(
            f"[bold]change {changes.name(receipt.change)}[/] {escape(causes)}: sent to "
            f"{receipt.sent} of {receipt.connected} proxies, "
            f"{receipt.acknowledged} acknowledged, {rejected}{took}",
            sign="[green]✓[/]" if not receipt.rejected else "[bold red]✗[/]",
        )
        for rejection in receipt.rejections:
            sources = ", ".join(rejection.sources)
            self.bad(f"  {rejection.proxy} rejected {sources}: {rejection.text}")

    def lines(self, lines: Iterable[str]) -> None:
        """Print lines that may hold markup."""
        for line in lines:
            self._console.print(line, highlight=False, soft_wrap=True)

    @contextmanager
    def busy(self, text: str) -> Iterator[None]:
        """Show that something takes a moment, while the block runs."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status(f"{text} …"):
            yield

    def show(self, renderable: RenderableType) -> None:
        """Show a table below the events, instead of the one before."""
        if not self._console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(renderable, refresh=True)

    @property
    def wide(self) -> bool:
        """There is room to spell things out."""
        return self._console.width >= _PLAIN_WIDTH

    def close(self, last: RenderableType | None = None) -> None:
        """End the live table, and leave its last state behind."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if last is not None:
            self._console.print(last)


def table(
    rows: Sequence[Row], splits: Sequence[Split], footer: str, *, wide: bool
) -> RenderableType:
    """Return the whole table; `wide` spells out what is shortened otherwise."""
    parts: list[RenderableType] = [_calls(rows, wide=wide)]
    if splits:
        parts.append(_splits(splits))
    return Group(*parts, Text.from_markup(footer))


def _calls(rows: Sequence[Row], *, wide: bool) -> Table:
    domains = sorted({_domain(row.proved) for row in rows if row.proved})
    prefix = domains[0] if len(domains) == 1 and not wide else ""
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    found.add_column("")
    for column in ("who called whom", "", f"proved: {prefix or 'SPIFFE id'}"):
        found.add_column(column, no_wrap=wide, overflow="fold")
    found.add_column("and was", overflow="fold")
    found.add_column("calls", justify="right", no_wrap=True)
    for row in rows:
        found.add_row(
            _SIGNS[row.mark],
            _called(row, wide=wide),
            row.protocol,
            _proof(row, prefix),
            _fate(row, wide=wide),
            str(row.calls),
        )
    return found


def _domain(identity: str) -> str:
    """Return the part of an identity that all of a mesh share: `spiffe://<trust domain>/`."""
    return identity[: identity.index("/ns/") + 1] if "/ns/" in identity else ""


def _called(row: Row, *, wide: bool) -> str:
    called = f"{row.caller} → {row.callee}:{row.port}"
    request = row.request if wide else row.request.partition(" ")[0]
    return f"{called} [dim]{escape(request)}[/]" if request else called


def _splits(splits: Sequence[Split]) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    found.add_column("")
    found.add_column("split over versions")
    for column in ("asked for", "seen", "calls"):
        found.add_column(column, justify="right")
    found.add_column("")
    for split in splits:
        bar = "█" * round(split.share / 4)
        found.add_row(
            _SIGNS[split.mark],
            f"{split.host} {split.version}",
            f"{split.weight:g} %",
            f"{split.share:.1f} %",
            str(split.calls),
            f"[cyan]{bar}[/]",
        )
    return found


def _proof(row: Row, prefix: str) -> str:
    if row.proved:
        return f"[green]{escape(row.proved.removeprefix(prefix))}[/]"
    return "[dim]nothing: plain text[/]" if not row.verdict.identity else "[yellow]not yet seen[/]"


def _fate(row: Row, *, wide: bool) -> str:
    """Return what became of the calls; if that is not what was asked for, both."""
    if row.wrong:
        told = f"{row.wrong} not as asked: {row.example[:40]}"
        return f"{_asked(row)}; [red]{escape(told)}[/]"
    if row.mark is Mark.WAITING:
        return f"{_asked(row)}; [yellow]the sidecar's log is awaited[/]"
    if row.verdict.fate is Fate.DENIED and wide:
        return f"{_asked(row)}: [bold]{escape(_rule(row))}[/]"
    return _asked(row)


def _asked(row: Row) -> str:
    verdict = row.verdict
    names = escape(", ".join(parse_ref(policy)[2] for policy in verdict.policies))
    if verdict.fate is Fate.ALLOWED:
        how = "answered" if verdict.identity else "answered in plain text"
        return f"{how}, [dim]allowed by {names}[/]" if names else how
    if verdict.fate is Fate.DENIED:
        number = verdict.rule.rpartition("-rule[")[2].rstrip("]")
        rule = f"rule {number}" if number else "no rule allows it"
        return f"[bold]denied[/] by {names}, {rule}"
    if verdict.fate is Fate.REFUSED:
        return f"[bold]refused[/] by {names}: STRICT"
    return "[dim]not judged[/]"


def _rule(row: Row) -> str:
    return "no policy matched" if row.evidence == NO_RULE else row.evidence


def _short(file: str) -> str:
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return file
