"""Report: collects the problems of one resource while it is read or checked."""

from libs.api import reasons
from libs.api.path import Path, render
from libs.api.problem import Problem, Severity
from libs.model.ids import Ref

MAX_PROBLEMS = 100
"""Of one resource; a hostile one could have a hundred thousand."""


class Report:
    """Problems in the order in which they are found. After `MAX_PROBLEMS` it takes no more."""

    def __init__(self, ref: Ref) -> None:
        self.ref = ref
        self.problems: list[Problem] = []

    @property
    def full(self) -> bool:
        """Whether more problems are pointless to look for."""
        return len(self.problems) > MAX_PROBLEMS

    def error(self, path: Path | str, reason: str, text: str) -> None:
        """Say that the resource cannot be used."""
        self._add(path, reason, text, Severity.ERROR)

    def warning(self, path: Path | str, reason: str, text: str) -> None:
        """Say that the resource is used, but hardly as meant."""
        self._add(path, reason, text, Severity.WARNING)

    def _add(self, path: Path | str, reason: str, text: str, severity: Severity) -> None:  # noqa: PLR0917
        if self.full:
            return
        if len(self.problems) == MAX_PROBLEMS:
            reason, text = reasons.TOO_MANY_PROBLEMS, f"more than {MAX_PROBLEMS} problems"
        where = path if isinstance(path, str) else render(path)
        self.problems.append(Problem(self.ref, where, reason, text, severity))
