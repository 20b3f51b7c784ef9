"""Following: receipts of all replicas of config-push, each shown once it is settled.

Every replica tells of its own proxies, in a stream of lines. What one of them has settled may be
news to another: it is shown when all who are followed have spoken of it, or LATE_SECONDS after it
was first seen settled. Which replicas there are is
asked again every so often; one that does not answer is tried again then. A replica that is older
than we are has no such stream: its page is read every second.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from http import HTTPStatus
from urllib.parse import quote

from libs.kube import forward
from libs.kube.client import Client
from libs.kube.errors import KubeError, PageStatusError
from libs.model import changes
from libs.protos.receipts.v1.receipts_pb2 import Receipt
from libs.runtime.tasks import Group
from services.ctl import merging
from services.ctl.merging import Json, Key

SETTLE_SECONDS = 0.3
"""News that come together are looked at together."""
LATE_SECONDS = 5.0
LOOK_SECONDS = 1.0
AGAIN_SECONDS = 10.0
SILENCE_SECONDS = 40.0
"""A replica that has no news says so more often than this."""
MAX_HELD = 2000
"""Receipts of one replica; the oldest are forgotten."""
_PAGE = "/debug/receipts"


class Following:
    """Follows the receipts of one namespace's replicas; `run` does the work."""

    def __init__(
        self,
        client: Client,
        namespace: str,
        ref: str,
        *,
        port: int,
        show: Callable[[Receipt], None],
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._port = port
        self._query = f"?ref={quote(ref)}"
        self._show = show
        self._held: dict[str, dict[object, Json]] = {}
        self._shown: set[Key] = set()
        self._waiting: dict[Key, float] = {}
        """Since when changes are settled of which not everybody has spoken; loop time."""
        self._news = asyncio.Event()
        self._followed: set[str] = set()

    async def run(self, pods: Callable[[], Awaitable[Sequence[str]]], known: Iterable[Key]) -> None:
        """Follow until cancelled. `pods` names the replicas; what is `known` is not shown."""
        self._shown.update(known)
        async with Group() as group:
            group.create_task(self._tell())
            while True:
                for name in await pods():
                    if name not in self._followed:
                        self._followed.add(name)
                        group.create_task(self._follow(name))
                await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self, pod: str) -> None:
        try:
            if not await self._streams(pod):
                await self._look(pod)
        except KubeError:
            pass  # tried again, if the pod is still there
        finally:
            self._followed.discard(pod)

    async def _streams(self, pod: str) -> bool:
        """Follow the stream of a replica until it breaks; False if it has none."""
        try:
            async with aclosing(self._lines(pod)) as lines:
                async for line in lines:
                    self._note(pod, json.loads(line))
        except PageStatusError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return False
            raise
        return True

    def _lines(self, pod: str) -> AsyncGenerator[bytes, None]:
        path = f"{_PAGE}/watch{self._query}"
        where = (self._client, self._namespace, pod)
        return forward.lines(*where, port=self._port, path=path, silence=SILENCE_SECONDS)

    async def _look(self, pod: str) -> None:
        where = (self._client, self._namespace, pod)
        while True:
            page = await forward.get(*where, port=self._port, path=_PAGE + self._query)
            if page.status != HTTPStatus.OK:
                raise PageStatusError(page.status)
            for data in json.loads(page.body):
                self._note(pod, data)
            await asyncio.sleep(LOOK_SECONDS)

    def _note(self, pod: str, data: Json) -> None:
        held = self._held.setdefault(pod, {})
        held.pop(data.get("change"), None)
        held[data.get("change")] = data
        if len(held) > MAX_HELD:
            del held[next(iter(held))]
        self._news.set()

    async def _tell(self) -> None:
        while True:
            if not self._waiting:
                await self._news.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._news.clear()
            self._look_through()

    def _look_through(self) -> None:
        pages = [sorted(held.values(), key=_number) for held in self._held.values()]
        said = merging.parts_by_change(pages)
        found = {key: merging.summed(parts) for key, parts in said.items()}
        before, self._waiting = self._waiting, {}
        now = asyncio.get_running_loop().time()
        for key, receipt in sorted(found.items(), key=lambda it: it[1].change):
            if not receipt.settled or key in self._shown:
                continue
            since = before.get(key, now)
            if len(said[key]) < len(self._followed) and now - since < LATE_SECONDS:
                self._waiting[key] = since
                continue
            self._shown.add(key)
            self._show(receipt)
        if len(self._shown) > 2 * MAX_HELD:
            self._shown &= found.keys()


def _number(data: Json) -> int:
    return changes.number(str(data.get("change", "")))
