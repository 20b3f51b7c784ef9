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
from libs.model.ids import Ref, parse_ref
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from services.local.rows import Mark, Row, Split
from services.local.verdict import Fate

_SIGNS = {
    Mark.RIGHT: "[green]✓[/]",
    Mark.WRONG: "[bold red]✗[/]",
    Mark.WAITING: "[yellow]…[/]",
}
_PLAIN_WIDTH = 150
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
            f"[bold]change {receipt.change}[/] {escape(causes)}: sent to {receipt.sent} of "
            f"{receipt.connected} proxies, {receipt.acknowledged} acknowledged, {rejected}{took}",
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

    def close(self, last: RenderableType | None = None) -> None:
        """End the live table, and leave its last state behind."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if last is not None:
            self._console.print(last)


def table(rows: Sequence[Row], splits: Sequence[Split], footer: str) -> RenderableType:
    """Return the whole table."""
    parts: list[RenderableType] = [_calls(rows)]
    if splits:
        parts.append(_splits(splits))
    return Group(*parts, Text.from_markup(footer))


def _calls(rows: Sequence[Row]) -> Table:
    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    found.add_column("")
    for column in ("who called whom", "protocol", "SPIFFE id that the caller proved"):
        found.add_column(column, overflow="fold")
    found.add_column("asked for", overflow="fold")
    found.add_column("what happened", overflow="fold")
    found.add_column("calls", justify="right", no_wrap=True)
    for row in rows:
        found.add_row(
            _SIGNS[row.mark],
            _called(row),
            row.protocol,
            _proof(row),
            _asked(row),
            _happened(row),
            str(row.calls),
        )
    return found


def _called(row: Row) -> str:
    called = f"{row.caller} → {row.callee}:{row.port}"
    return f"{called}\n[dim]{escape(row.request)}[/]" if row.request else called


def _splits(splits: Sequence[Split]) -> Table:
    found = Table(
        "",
        "split over versions",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
    )
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


def _proof(row: Row) -> str:
    if row.proved:
        scheme, _, rest = row.proved.partition("://")
        domain, _, path = rest.partition("/")
        return f"[dim]{scheme}://{escape(domain)}/[/]\n[green]{escape(path)}[/]"
    return "[dim]none: plain text[/]" if not row.verdict.identity else "[yellow]not seen yet[/]"


def _asked(row: Row) -> str:
    verdict = row.verdict
    names = escape(", ".join(_name(policy) for policy in verdict.policies))
    if verdict.fate is Fate.ALLOWED:
        how = "mutual TLS" if verdict.identity else "plain text accepted"
        return f"{how}\n[dim]{names}[/]" if names else how
    if verdict.fate is Fate.DENIED:
        return f"denied\n[dim]{names}[/]"
    if verdict.fate is Fate.REFUSED:
        return f"refused: STRICT\n[dim]{names}[/]"
    return "[dim]not judged[/]"


def _happened(row: Row) -> str:
    if row.wrong:
        return f"[red]{row.wrong} not as asked: {escape(row.example[:60])}[/]"
    if row.mark is Mark.WAITING:
        return "[yellow]waiting for the sidecar's log[/]"
    if row.verdict.fate is Fate.DENIED:
        rule = "no rule allows it" if row.evidence == "none" else row.evidence
        return f"denied: [bold]{escape(rule)}[/]"
    if row.verdict.fate is Fate.REFUSED:
        return f"refused: {escape(row.evidence)}"
    return "answered"


def _name(policy: Ref) -> str:
    kind, _, name = parse_ref(policy)
    return f"{kind} {name}"


def _short(file: str) -> str:
    path = Path(file)
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return file
