"""What discovery raises itself. Mistakes in the configuration are Problems and never raised."""

from pathlib import Path


class DiscoveryError(Exception):
    """Base of this service's errors."""


class SourceLostError(DiscoveryError):
    """The folder of manifests is gone. The process ends; the mesh goes on with what it has."""

    def __init__(self, root: Path) -> None:
        super().__init__(f"{root} is not there any more")


class FellBehindError(DiscoveryError):
    """A subscriber's queue overflowed: it has to subscribe again."""
