"""Plane: a control plane that can be asked, wherever it runs.

Commands ask it, whether that is a process on this machine or a pod behind an API server, which
`opening` decides. What a command makes of the answers is its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from libs.protos.feed.v1.feed_pb2 import Problem
from libs.protos.receipts.v1.receipts_pb2 import Receipt

Json = Mapping[str, Any]


class Plane(Protocol):
    """A control plane; every method raises RequestError if nobody answers."""

    @property
    def missing(self) -> Mapping[str, str]:
        """Who should have answered so far and has not, and why."""
        ...

    @property
    def expected(self) -> Sequence[str]:
        """Proxies that should be connected, as far as that is known without asking."""
        ...

    def statuses(self) -> list[Json]:
        """Return how far each connected proxy is: rows of `syncz`, with the `replica` it is at."""
        ...

    def full_name(self, name: str) -> str:
        """Return `<pod>.<namespace>` for a name that leaves out the namespace or the end."""
        ...

    def dump(self, proxy: str) -> Json:
        """Return what a proxy was sent, by its full name."""
        ...

    def certificates(self, proxy: str) -> Json:
        """Return which certificates a proxy's Envoy holds, as its admin page says."""
        ...

    def receipts(self, ref: str) -> list[Receipt]:
        """Return what became of changes, oldest first; of one resource, if there is a `ref`."""
        ...

    def watch(self, ref: str, show: Callable[[Receipt], None]) -> None:
        """Show each receipt once it is settled, until interrupted."""
        ...

    def problems(self) -> list[Problem]:
        """Return what is wrong with the configuration."""
        ...

    def analyzed(self) -> list[Problem]:
        """Return that, and what the analysis of the whole mesh notices."""
        ...

    def execute(self, proxy: str, command: Sequence[str]) -> int:
        """Run a command where a workload runs, and return its exit status."""
        ...
