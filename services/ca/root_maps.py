"""Root maps: the ConfigMap `istio-ca-root-cert` in every namespace, with the roots to trust.

The leader follows all namespaces and the ConfigMaps of that name, and writes where they differ: in
a new namespace, after somebody edited or deleted one, and everywhere when the roots change. Each
namespace is looked at again after every event about it, so what piles up is one entry a namespace,
at most. A namespace whose ConfigMap cannot be written is tried again with growing pauses, and holds
no other one up.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.errors import (
    ConflictError,
    InvalidError,
    KubeError,
    NotFoundError,
)
from libs.kube.follow import Change, Follower
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import Group, background
from services.ca import metrics

logger = logging.getLogger(__name__)

NAME, KEY = "istio-ca-root-cert", "root-cert.pem"
LABELS = {"istio.io/config": "true"}
AT_ONCE = 8
_BACKOFF = Backoff(first=1.0, limit=60.0)
_MERGE = "application/merge-patch+json"

_NAMESPACES = Collection(name="namespaces", paths=("/api/v1/namespaces",), metadata_only=True)
_MAPS = Collection(
    name="configmaps", paths=("/api/v1/configmaps",), field_selector=f"metadata.name={NAME}"
)


class _Metadata(Struct, rename="camel"):
    resource_version: str = ""
    deletion_timestamp: str | None = None


class _Object(Struct):
    metadata: _Metadata
    data: dict[str, str] | None = None


_DECODE = msgspec.json.Decoder(_Object)


class RootMaps:
    """Keeps the ConfigMaps right while `run` runs."""

    def __init__(
        self,
        client: Client,
        roots: Callable[[], bytes],
        *,
        clock: Clock,
        check: Callable[[], None],
    ) -> None:
        """Take `check`, which raises LeaseLostError when this replica leads no more."""
        self._client = client
        self._roots = roots
        self._clock = clock
        self._check = check
        self._namespaces: set[str] = set()
        self._maps: dict[str, _Object] = {}
        self._due: dict[str, str] = {}  # namespace → why
        self._wake = asyncio.Event()
        self._failures: dict[str, int] = {}

    def renew(self) -> None:
        """Look at all namespaces, because the roots have changed."""
        for namespace in self._namespaces:
            self._look(namespace, "root")

    async def run(self) -> None:
        """Follow and write until cancelled.

        Raises:
            LeaseLostError: in an ExceptionGroup.

        """
        # What an earlier turn as leader saw may be gone, or spoiled, by now.
        for seen in (self._namespaces, self._maps, self._due, self._failures):
            seen.clear()
        namespaces = Follower(self._client, _NAMESPACES, self._on_namespaces, clock=self._clock)
        maps = Follower(self._client, _MAPS, self._on_maps, clock=self._clock)
        async with background(namespaces.run(), maps.run()):
            # A map that is not known yet would be created in vain.
            await maps.synced.wait()
            async with Group() as group:
                for _ in range(AT_ONCE):
                    group.create_task(self._work(group))

    async def _on_namespaces(self, changes: Sequence[Change]) -> None:
        for change in changes:
            name = change.name.name
            if change.raw is None or _DECODE.decode(change.raw).metadata.deletion_timestamp:
                self._namespaces.discard(name)
                self._failures.pop(name, None)
            elif name not in self._namespaces:
                self._namespaces.add(name)
                self._look(name, "namespace")

    async def _on_maps(self, changes: Sequence[Change]) -> None:
        for change in changes:
            namespace = change.name.namespace
            if change.raw is None:
                self._maps.pop(namespace, None)
                self._look(namespace, "deleted")
            else:
                self._maps[namespace] = _DECODE.decode(change.raw)
                self._look(namespace, "edited")

    def _look(self, namespace: str, why: str) -> None:
        self._due.setdefault(namespace, why)
        self._wake.set()

    async def _work(self, retries: asyncio.TaskGroup) -> None:
        while True:
            while not self._due:
                self._wake.clear()
                await self._wake.wait()
            namespace = next(iter(self._due))
            delay = await self._visit(namespace, self._due.pop(namespace))
            if delay:
                retries.create_task(self._again(namespace, delay))

    async def _again(self, namespace: str, delay: float) -> None:
        await self._clock.sleep(delay)
        self._look(namespace, "retry")

    async def _visit(self, namespace: str, why: str) -> float:
        """Write if that is needed; return after how many seconds to come back, 0 if not."""
        if namespace not in self._namespaces or self._is_right(namespace):
            return 0.0
        self._check()
        try:
            await self._write(namespace)
        except (ConflictError, NotFoundError):
            return 0.0  # somebody was faster, or the namespace has gone: the watch tells
        except KubeError as error:
            return self._failed(namespace, error)
        self._failures.pop(namespace, None)
        metrics.ROOT_MAPS.labels(reason=why).inc()
        return 0.0

    def _failed(self, namespace: str, error: KubeError) -> float:
        failures = self._failures.get(namespace, 0)
        self._failures[namespace] = failures + 1
        fields = {"namespace": namespace, "reason": str(error)}
        logger.warning("root config map not written", extra=fields)
        return _BACKOFF.delay(failures, chance())

    def _is_right(self, namespace: str) -> bool:
        found = self._maps.get(namespace)
        return found is not None and (found.data or {}).get(KEY) == self._roots().decode()

    async def _write(self, namespace: str) -> None:
        folder = f"/api/v1/namespaces/{namespace}/configmaps"
        found = self._maps.get(namespace)
        body = _manifest(self._roots().decode(), found)
        if found is None:
            answer = await self._client.request("POST", folder, body=body)
        else:
            try:
                answer = await self._client.request(
                    "PATCH", f"{folder}/{NAME}", body=body, content_type=_MERGE
                )
            except InvalidError:  # somebody made it immutable: only another one helps
                await self._client.request("DELETE", f"{folder}/{NAME}")
                return
        self._maps[namespace] = msgspec.convert(answer, _Object)


def _manifest(roots: str, found: _Object | None) -> Mapping[str, Any]:
    """Return what to create, or to merge into the version that was seen; other keys stay."""
    metadata: dict[str, Any] = {"name": NAME, "labels": LABELS}
    if found is not None:
        metadata["resourceVersion"] = found.metadata.resource_version
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KEY: roots}}
