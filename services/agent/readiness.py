"""Readiness: whether this pod may get traffic.

Envoy must have its first clusters and listeners, be live, and its workers must run; once it has
been so, only the server's state is asked again. Where the agent answers DNS queries, it must know
the mesh's names. A pod that is leaving is not ready, whatever Envoy
says.
"""

from collections.abc import Callable

from services.agent.admin import Admin
from services.agent.http.client import HttpError

_PATTERN = (
    "^(cluster_manager.cds|listener_manager.lds).(update_success|update_rejected)$"
    "|^server.state$|^listener_manager.workers_started$"
)
_CDS = "cluster_manager.cds.update_"
_LDS = "listener_manager.lds.update_"


class Readiness:
    """Asks Envoy; remembers what cannot become untrue."""

    def __init__(self, admin: Admin, *, names_known: Callable[[], bool] = lambda: True) -> None:
        self._admin = admin
        self._names_known = names_known
        self._configured = False
        self.leaving = False
        """Set when the pod is to go."""

    async def waiting_for(self) -> str:
        """Return why the proxy is not ready; empty if it is."""
        if self.leaving:
            return "the pod is leaving"
        if not self._names_known():
            return "names for dns not received from the control plane (is it running?)"
        try:
            stats = await self._admin.stats(_PATTERN)
        except HttpError as error:
            return f"envoy is not up: {error}"
        if not self._configured and (reason := _unconfigured(stats)):
            return reason
        self._configured = True
        if (state := stats.get("server.state")) != 0:
            return f"envoy is not live: state {state}"
        return ""

    def restarted(self) -> None:
        """Envoy starts again with nothing."""
        self._configured = False


def _unconfigured(stats: dict[str, int]) -> str:
    got_clusters = stats.get(f"{_CDS}success", 0) > 0
    got_listeners = stats.get(f"{_LDS}success", 0) > 0
    if not (got_clusters and got_listeners):
        return (
            "config not received from the control plane (is it running?): "
            f"cds updates: {stats.get(f'{_CDS}success', 0)} successful, "
            f"{stats.get(f'{_CDS}rejected', 0)} rejected; "
            f"lds updates: {stats.get(f'{_LDS}success', 0)} successful, "
            f"{stats.get(f'{_LDS}rejected', 0)} rejected"
        )
    if stats.get("listener_manager.workers_started") != 1:
        return "workers have not yet started"
    return ""
