"""Rules: how a root is made, how long certificates live, and how long replicas take to agree."""

from msgspec import Struct

from libs.pki import authority

CHECK_SECONDS = 5.0
"""Between two looks, or a sixth of the patience if that is less."""


class Rules(Struct, frozen=True):
    """What settings say of the authority of a cluster."""

    organization: str
    longest: int
    """Seconds that certificates live, unless more is asked for."""
    root: float = authority.ROOT_SECONDS
    """Seconds that a root lives."""
    patience: float = 60.0
    """Seconds for which a replica signs with what it has not seen confirmed."""

    @property
    def settle(self) -> float:
        """Seconds until all replicas have taken a step over, or do not sign."""
        return 2 * self.patience

    @property
    def check(self) -> float:
        """Seconds between two looks at the Secrets."""
        return min(CHECK_SECONDS, self.patience / 6)
