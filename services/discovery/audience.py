"""The audience: everyone who is told of each step of the mesh, in the order in which they are."""

from collections.abc import Callable, Iterable

from libs.api.problem import Problem
from libs.model.delta import Delta
from libs.model.mesh import Mesh
from libs.runtime.probes import Readiness
from libs.translate.apply import Step
from services.discovery.credentials import CredentialBook
from services.discovery.earlier import EarlierLife
from services.discovery.feed import Feed
from services.discovery.numbering import Numbering
from services.discovery.problems import Problems
from services.discovery.status.wiring import Statuses


class Audience:
    """Everyone who is told of each step, in the order in which they are."""

    def __init__(
        self,
        feed: Feed,
        problems: Problems,
        credentials: CredentialBook,
        *,
        earlier: EarlierLife | None,
        statuses: Statuses | None,
        readiness: Readiness,
    ) -> None:
        self.found: Callable[[Mesh], Iterable[Problem]] = lambda _: ()
        """Returns what proxies have brought to light about a mesh."""
        self._last: Step | None = None
        self._feed = feed
        self._problems = problems
        self._credentials = credentials
        self._earlier = earlier
        self._statuses = statuses
        self._readiness = readiness

    def publish(self, step: Step) -> None:
        """Tell of a step."""
        step = self._earlier.settle(step) if self._earlier else step
        self._last = step
        self._feed.publish(step.state.mesh, step.delta)
        self.look_again()
        self._credentials.publish(step.state.resources.get("Secret", {}))
        if self._statuses is not None:
            self._statuses.serve(step.state)
        self._readiness.set("configuration")

    def look_again(self) -> None:
        """Tell of all problems: those of the last step, and what proxies have brought to light."""
        if self._last is None:
            return
        mesh = self._last.state.mesh
        problems = tuple(sorted({*self._last.problems, *self.found(mesh)}))
        self._problems.publish(problems)
        if self._statuses is not None:
            self._statuses.publish(mesh, problems)

    def fall_back(self, numbering: Numbering, mesh: Mesh, problem: Problem) -> None:
        """Tell of the mesh of an earlier life."""
        self._feed.publish(mesh, Delta(change=numbering()))
        self._problems.publish((problem,))
        self._readiness.set("configuration")
