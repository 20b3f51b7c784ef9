"""Numbering: gives each change its number; see `libs.model.changes` for what that promises."""

import secrets

from libs.model import changes
from libs.model.changes import ChangeNumber
from libs.runtime.clock import Clock


class Numbering:
    """Numbers the changes of one process; `maker` tells it apart from others, drawn if not given.

    Two processes that draw the same number make the same name only in the same millisecond.
    """

    def __init__(self, clock: Clock, maker: int | None = None) -> None:
        self._clock = clock
        self._maker = secrets.randbelow(changes.MAKERS) if maker is None else maker
        self._last = ChangeNumber(0)

    def __call__(self) -> ChangeNumber:
        """Return the next number."""
        self._last = changes.next_number(self._last, now=self._clock.now(), maker=self._maker)
        return self._last
