"""Sources: where configuration comes from: a folder of manifests, or the API server.

A folder that is set wins; without one there is a cluster. What a source gives is a `Batch`, of
whatever it is made.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from libs.api import mesh_layers
from libs.api.check import Complete, as_written
from libs.api.registry import Kind
from libs.kube import access
from libs.kube.client import Client
from libs.kube.follow import Change
from libs.runtime.clock import Clock
from libs.translate.apply import Event
from services.discovery import completion, files
from services.discovery.files import Batch
from services.discovery.kubernetes import KubernetesSource
from services.discovery.mesh_maps import MeshMaps
from services.discovery.settings import Settings

Work = Coroutine[Any, Any, None]
Tell = Callable[[Kind, Sequence[Change]], None]


class Source(Protocol):
    """Gives configuration: first all there is, then what changes."""

    def put(self, event: Event) -> None:
        """Have an event taken in with the next batch; of one resource, the last event counts."""
        ...

    def drained(self) -> Batch:
        """Return what has been put and was not taken in yet, and forget it."""
        ...

    def batches(self) -> AsyncIterator[Batch]:
        """Yield everything first, even if that is nothing, then whatever changes."""
        ...


class Opened(Struct, frozen=True):
    """A source, what completes its documents, and what has to run for it."""

    source: Source
    client: Client | None = None
    """Of the cluster, if there is one."""
    complete: Complete = as_written
    work: tuple[Work, ...] = ()
    waiting: Callable[[], Sequence[str]] = tuple
    """What is not there yet, in words."""
    tell: Callable[[Tell], None] | None = None
    """Takes who is told of every object of a cluster, before the work begins."""
    away: Callable[[], Work] | None = None
    """Returns when the source turns out not to be there at the start."""


@asynccontextmanager
async def opened(settings: Settings, clock: Clock) -> AsyncIterator[Opened]:
    """Yield the source that the settings name.

    Raises:
        OSError: the folder cannot be watched.
        AccessError: there is neither a folder nor a cluster.

    """
    async with AsyncExitStack() as stack:
        if settings.config_dir is None:
            client = await stack.enter_async_context(Client(access.load(settings.kubeconfig)))
            found = KubernetesSource(client, _maps(settings), clock, revision=settings.revision)
            yield Opened(
                found,
                client,
                work=(found.run(),),
                waiting=lambda: found.waiting,
                tell=partial(setattr, found, "tell"),
                away=found.is_away,
            )
        else:
            yield await _folder(stack, settings.config_dir, settings.completion_dir, clock=clock)


def _maps(settings: Settings) -> MeshMaps:
    name = mesh_layers.config_map_name(settings.revision)
    return MeshMaps(settings.system_namespace, name, settings.shared_mesh_config)


async def _folder(
    stack: AsyncExitStack, root: Path, completions: Path | None, *, clock: Clock
) -> Opened:
    source = await stack.enter_async_context(files.watch(root, clock))
    changed = partial(source.note, root)
    complete = await stack.enter_async_context(completion.watch(completions, clock, changed))
    return Opened(source, complete=complete)
