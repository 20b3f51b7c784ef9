"""Delta: which rows moved between two meshes, and which resources caused it."""

from msgspec import Struct

from libs.model.ids import Ref
from libs.model.mesh import Key, Table


class Delta(Struct, frozen=True):
    """The difference between one mesh and the next.

    `change` numbers the change (see `libs.model.changes`): it is what receipts speak of, and 0
    until discovery has numbered it. `observed` is the wall-clock time, in seconds, at which its
    first cause was seen. `generations` says which state of each cause it was, in the order of
    `causes`: Kubernetes' `metadata.generation`, 0 where there is none.
    """

    changed: frozenset[Key] = frozenset()
    removed: frozenset[Key] = frozenset()
    causes: tuple[Ref, ...] = ()
    change: int = 0
    observed: float = 0.0
    generations: tuple[int, ...] = ()

    @property
    def keys(self) -> frozenset[Key]:
        """Every row that moved."""
        return self.changed | self.removed

    @property
    def tables(self) -> frozenset[Table]:
        """Every table that moved."""
        return frozenset(key.table for key in self.keys)

    def __bool__(self) -> bool:
        return bool(self.changed or self.removed)
