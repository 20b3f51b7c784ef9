"""Completion: what a cluster adds to a manifest, taken from a second folder.

A Pod as people write it has no address and is not ready, a Service has no virtual address: the
API server's source knows, and a folder of manifests does not. Whoever runs the workloads (local
mode) writes that into documents of its own, one a resource, which are laid over the manifests as
they are read. So people's files are watched where they are, and nobody writes into them.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from libs.api import documents
from libs.api.check import Complete, as_written
from libs.api.documents import Raw
from libs.model.ids import Ref
from libs.runtime.clock import Clock
from libs.runtime.tasks import background
from services.discovery import files
from services.discovery.files import Batch


class Completions:
    """What is added to each resource. A document that cannot be read adds nothing."""

    def __init__(self) -> None:
        self._files: dict[str, dict[Ref, Raw]] = {}
        self._added: Mapping[Ref, Raw] = {}

    def take(self, batch: Batch) -> None:
        """Take files that have changed."""
        for file in batch.files:
            found = documents.read(file.text or "", file.name)
            self._files[file.name] = {it.ref: it.raw for it in found if it.raw is not None}
        self._added = {ref: raw for added in self._files.values() for ref, raw in added.items()}

    def __call__(self, ref: Ref, raw: Raw) -> Raw:
        """Return a document as it would come from a cluster."""
        added = self._added.get(ref)
        return raw if added is None else merge(raw, added)


def merge(written: Raw, added: Raw) -> Raw:
    """Return `written` with the fields of `added` in it; mappings are merged, all else replaced."""
    merged = dict(written)
    for name, value in added.items():
        before = merged.get(name)
        both = isinstance(before, Mapping) and isinstance(value, Mapping)
        merged[name] = merge(before, value) if both else value  # type: ignore[arg-type]
    return merged


@asynccontextmanager
async def watch(
    folder: Path | None, clock: Clock, changed: Callable[[], None]
) -> AsyncIterator[Complete]:
    """Yield what completes documents, once the folder was read; `changed` is called whenever it is.

    Raises:
        OSError: the folder cannot be watched.

    """
    if folder is None:
        yield as_written
        return
    completions = Completions()
    async with files.watch(folder, clock) as source:
        batches = source.batches()
        completions.take(await anext(batches))
        async with background(_follow(batches, completions, changed)):
            yield completions


async def _follow(
    batches: AsyncIterator[Batch], completions: Completions, changed: Callable[[], None]
) -> None:
    async for batch in batches:
        await asyncio.to_thread(completions.take, batch)
        changed()
