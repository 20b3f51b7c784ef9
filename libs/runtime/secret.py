"""Secret: text that does not show itself in logs, exceptions or printed settings.

Code that truly needs the text calls `reveal`, which is easy to find in a review.
"""

import hmac


class Secret:
    """Text that prints as `Secret(…)` and refuses to be serialised."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself; never log or keep what this returns."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str:
        message = "a Secret is not serialised"
        raise TypeError(message)
