"""Machine accounts: which accounts machines outside the cluster may have.

A machine has no pod that its token could be bound to. Such a token counts if a WorkloadGroup of its
namespace is for its account: whoever may write one lets machines be that account. It is asked when
a token is reviewed, so without a group nobody comes in any more.
"""

from typing import Any

from libs.kube.client import Client
from libs.kube.errors import NotFoundError

PATH = "/apis/networking.istio.io/v1/namespaces/{}/workloadgroups"
PAGE = 500
MAX_PAGES = 10
"""Groups of further pages are not looked at."""


class MachineAccounts:
    """Asks the API server."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def may(self, namespace: str, account: str) -> bool:
        """Tell whether a group of the namespace is for the account.

        Raises:
            KubeError: nobody can say now.

        """
        more = ""
        for _ in range(MAX_PAGES):
            params: dict[str, str | int] = {"limit": PAGE}
            if more:
                params["continue"] = more
            try:
                found: Any = await self._client.get(PATH.format(namespace), params)
            except NotFoundError:
                return False  # there is no such kind here
            if any(_account(group) == account for group in found.get("items") or ()):
                return True
            more = (found.get("metadata") or {}).get("continue") or ""
            if not more:
                return False
        return False


def _account(group: Any) -> str:  # noqa: ANN401  # JSON
    template = (group.get("spec") or {}).get("template") or {}
    return str(template.get("serviceAccount") or "default")
