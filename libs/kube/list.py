"""List: all objects of a collection, page by page, each object as the bytes that the server sent.

The pages of one list belong to one moment of the cluster, the list's version. A list that takes too
long outlives that moment (410); whoever lists then starts again.
"""

from collections.abc import AsyncGenerator

import msgspec
from msgspec import Raw, Struct

from libs.kube.client import Client, Params
from libs.kube.collection import Collection
from libs.kube.errors import MalformedError

PAGE = 500
"""Objects in a page: some megabytes of pods."""


class Name(Struct, frozen=True, gc=False, order=True):
    """Namespace and name of an object; the namespace is empty for cluster-scoped ones."""

    namespace: str
    name: str


class Item(Struct, frozen=True, gc=False):
    """One object: its name, its resourceVersion, and its JSON."""

    name: Name
    version: str
    raw: Raw


class Page(Struct, frozen=True):
    """Some of the objects. `rest` is how many more there are, None if the server does not say."""

    items: list[Item]
    version: str
    following: str  # continues the list; empty at its end
    rest: int | None


class Metadata(Struct, rename="camel", gc=False):
    """What every object says of itself, as far as following it needs."""

    name: str = ""
    namespace: str = ""
    resource_version: str = ""


class _Head(Struct, gc=False):
    metadata: Metadata


class _ListMetadata(Struct, rename="camel", gc=False):
    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")
    remaining_item_count: int | None = None


class _List(Struct, gc=False):
    metadata: _ListMetadata
    items: list[Raw] | None = None


_LIST = msgspec.json.Decoder(_List)
_HEAD = msgspec.json.Decoder(_Head)


def item_of(raw: Raw) -> Item:
    """Return an object with its name and version read.

    Raises:
        MalformedError: it has none.

    """
    try:
        found = _HEAD.decode(raw).metadata
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedError(f"an object without metadata: {error}") from error
    return Item(Name(found.namespace, found.name), found.resource_version, raw)


async def pages(
    client: Client, collection: Collection, path: str, *, limit: int = PAGE
) -> AsyncGenerator[Page, None]:
    """Yield the pages of a list.

    Raises:
        GoneError: the list took too long; what was yielded is no whole.
        KubeError: as `Client.request`.

    """
    following = ""
    while True:
        page = await _page(client, collection, path, {"limit": limit, "continue": following})
        yield page
        if not page.following:
            return
        following = page.following


async def whole(client: Client, collection: Collection, path: str) -> Page:
    """Return the list in one answer, for when pages take too long; raises as `pages`."""
    return await _page(client, collection, path, {})


class Count(Struct, frozen=True):
    """How many objects there are, and at which version that was."""

    objects: int
    version: str


async def count(client: Client, collection: Collection, path: str) -> Count:
    """Count the objects, with one small answer where the server counts; raises as `pages`."""
    page = await _page(client, collection, path, {"limit": 1})
    if not page.following:
        return Count(len(page.items), page.version)
    if page.rest is not None:
        return Count(len(page.items) + page.rest, page.version)
    # Servers do not count what is selected by fields or labels.
    objects, version = 0, ""
    names = msgspec.structs.replace(collection, metadata_only=True)
    async for each in pages(client, names, path):
        objects += len(each.items)
        version = each.version
    return Count(objects, version)


async def _page(client: Client, collection: Collection, path: str, params: Params) -> Page:  # noqa: PLR0917
    wanted = {**collection.params, **{name: value for name, value in params.items() if value}}
    body = await client.read(path, wanted, accept=collection.accept_list)
    try:
        found = _LIST.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise MalformedError(f"a list that cannot be read: {error}") from error
    return Page(
        items=[item_of(raw) for raw in found.items or ()],
        version=found.metadata.resource_version,
        following=found.metadata.continue_ or "",
        rest=found.metadata.remaining_item_count,
    )
