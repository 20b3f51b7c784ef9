"""Access: where the API server is, whom to trust there, and as whom to ask.

In a pod that is the service account's folder, otherwise a kubeconfig. Credentials change while a
process runs: the token in a pod is read again every minute, and everything is read again when the
server says that the credential is not good.
"""

from pathlib import Path
from typing import Protocol

from libs.kube.errors import AccessError
from libs.kube.vendor import (
    ConfigException,
    Configuration,
    load_incluster_config,
    load_kube_config,
)

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
BEARER = "BearerToken"


class Access(Protocol):
    """A way to an API server. Make it with `load`."""

    async def configure(self) -> Configuration:
        """Return the transport's configuration, from what files and plugins say now.

        Raises:
            AccessError: they say nothing usable.

        """
        ...


class InCluster:
    """The service account of the pod that this process runs in."""

    def __init__(self, folder: Path = SERVICE_ACCOUNT) -> None:
        self._folder = folder

    async def configure(self) -> Configuration:
        """Return the configuration; its token follows the file."""
        found = Configuration()
        try:
            load_incluster_config(  # type: ignore[no-untyped-call]
                found,
                token_filename=str(self._folder / "token"),
                cert_filename=str(self._folder / "ca.crt"),
            )
        except (ConfigException, OSError) as error:
            raise AccessError(f"no service account of a pod: {error}") from error
        return found


class Kubeconfig:
    """A context of a kubeconfig file; exec plugins and token files are asked again."""

    def __init__(self, path: str, context: str = "") -> None:
        """`context`: its name; empty for the current one."""
        self._path = path
        self._context = context

    async def configure(self) -> Configuration:
        """Return the configuration; nothing is ever written to the file."""
        found = Configuration()
        try:
            await load_kube_config(
                self._path,
                context=self._context or None,
                client_configuration=found,
                persist_config=False,
            )
        except Exception as error:  # its loader and its plugins raise whatever they like
            raise AccessError(f"kubeconfig {self._path} is of no use: {error}") from error
        return found


def load(kubeconfig: str = "", context: str = "") -> Access:
    """Return the way to the API server that `kubeconfig` names; empty means that of this pod."""
    return Kubeconfig(kubeconfig, context) if kubeconfig else InCluster()
