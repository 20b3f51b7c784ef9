"""Order: which resource comes first. The oldest does, then by name, then by namespace."""

from typing import Protocol


class Dated(Protocol):
    """A row with the time at which its resource was made."""

    @property
    def created(self) -> int:
        """Seconds since the epoch."""
        ...

    @property
    def name(self) -> str:
        """The resource's name."""
        ...

    @property
    def namespace(self) -> str:
        """The resource's namespace."""
        ...


def age(row: Dated) -> tuple[int, str, str]:
    """Return a sort key by which older rows come first."""
    return (row.created, row.name, row.namespace)
