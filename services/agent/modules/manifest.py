"""Manifest: what an image consists of, and which part of it is the module.

A module is pushed as a layer of its own media type, or as the file `plugin.wasm` in the last layer
of an ordinary image. An index names images for several platforms.
"""

import msgspec
from msgspec import Struct

from services.agent.modules.errors import ModuleError

INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MODULES = frozenset({"application/vnd.module.wasm.content.layer.v1+wasm", "application/wasm"})
ARCHIVES = frozenset(
    {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    }
)

_WASM = "wasm"
_USUAL = ("linux", "amd64")


class Platform(Struct, frozen=True):
    """What an image of an index runs on."""

    architecture: str = ""
    os: str = ""


class Descriptor(Struct, frozen=True, rename="camel"):
    """One part: a layer, or an image of an index."""

    digest: str
    size: int
    media_type: str = ""
    platform: Platform | None = None


class Document(Struct, frozen=True, rename="camel"):
    """A manifest, or an index."""

    media_type: str = ""
    layers: tuple[Descriptor, ...] = ()
    manifests: tuple[Descriptor, ...] = ()


def read(body: bytes) -> Document:
    """Return the manifest or index that `body` is.

    Raises:
        ModuleError: it is neither, or both.

    """
    try:
        found = msgspec.json.decode(body, type=Document)
    except (msgspec.DecodeError, RecursionError) as error:
        message = "the manifest of the image cannot be read"
        raise ModuleError(message) from error
    if bool(found.layers) == bool(found.manifests):
        message = "the manifest of the image has no layers, or is an index besides"
        raise ModuleError(message)
    return found


def image(index: Document) -> Descriptor:
    """Return the image of an index that holds the module.

    Raises:
        ModuleError: it cannot be told which.

    """
    known = [it for it in index.manifests if not it.media_type or it.media_type in MANIFESTS]
    for one in known:
        if one.platform and one.platform.architecture == _WASM:
            return one
    for one in known:
        if one.platform and (one.platform.os, one.platform.architecture) == _USUAL:
            return one
    if len(known) == 1:
        return known[0]
    message = "the image is for several platforms, none of which is wasm or linux/amd64"
    raise ModuleError(message)


def layer(manifest: Document) -> tuple[Descriptor, bool]:
    """Return the layer that holds the module, and whether it is an archive.

    Raises:
        ModuleError: there is none.

    """
    for one in manifest.layers:
        if one.media_type in MODULES:
            return one, False
    last = manifest.layers[-1]
    if last.media_type in ARCHIVES:
        return last, True
    message = f"no layer of the image holds a module: the last is {last.media_type[:100]!r}"
    raise ModuleError(message)
