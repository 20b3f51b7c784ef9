"""Cluster: work at the API server of a kubeconfig, and the end of a command that cannot be done."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct

from libs.kube import access
from libs.kube.client import Client
from libs.kube.errors import KubeError
from services.ctl import output
from services.ctl.check_inject import DEFAULT_KUBECONFIG

T = TypeVar("T")


class Api(Struct, frozen=True):
    """Which API server is meant. Empty: the usual file, and its current context."""

    kubeconfig: str = ""
    context: str = ""


class Misused(Exception):  # noqa: N818 - an answer to the user
    """What was asked for cannot be; says why, and what to do."""

    def __init__(self, text: str, hint: str = "") -> None:
        super().__init__(text)
        self.hint = hint


def ask(api: Api, work: Callable[[Client], Awaitable[T]]) -> T:
    """Return what `work` returns of a cluster, or end the command."""
    path = api.kubeconfig or str(DEFAULT_KUBECONFIG.expanduser())

    async def inside() -> T:
        async with Client(access.load(path, api.context)) as client:
            return await work(client)

    try:
        return asyncio.run(inside())
    except Misused as error:
        output.fail(str(error), hint=error.hint)
    except KubeError as error:
        output.fail(str(error), hint=f"kubeconfig: {path}")
