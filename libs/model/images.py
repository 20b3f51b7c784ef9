"""Images: the names under which registries keep what was pushed to them. The only parser of these.

`<registry>/<repository>[:<tag>][@sha256:<digest>]`: what stands before the first slash is a
registry if it has a dot or a port or is `localhost`. A name without one is refused: nobody's
registry is meant unless it is written (ADR 49). Without tag and digest the tag is `latest`. How a
registry is asked is not decided here.
"""

import re

from msgspec import Struct

LATEST = "latest"

_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_REPOSITORY = re.compile(
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_MAX_REPOSITORY = 255


class Image(Struct, frozen=True, gc=False):
    """An image in a registry. With a digest the tag decides nothing."""

    registry: str  # host, or host and port
    repository: str
    tag: str
    digest: str = ""  # `sha256:<hexadecimal>`

    @property
    def reference(self) -> str:
        """By what the registry is asked for its manifest."""
        return self.digest or self.tag

    @property
    def moves(self) -> bool:
        """Whether it is expected to be another image tomorrow."""
        return not self.digest and self.tag == LATEST


def parse_image(text: str) -> Image:
    """Return the image that is named, with or without `oci://` before it.

    Raises:
        ValueError: it is no name of an image; the message says why.

    """
    name, at, digest = text.removeprefix("oci://").partition("@")
    if at and not _DIGEST.fullmatch(digest):
        message = f"{digest[:100]!r} is not a digest: write sha256: and 64 hexadecimal digits"
        raise ValueError(message)
    path, tag = _tagged(name)
    registry, repository = _placed(path)
    if not _TAG.fullmatch(tag):
        message = f"{tag[:100]!r} is not a tag"
        raise ValueError(message)
    if not _HOST.fullmatch(registry):
        message = f"{registry[:100]!r} is not the host of a registry"
        raise ValueError(message)
    if len(repository) > _MAX_REPOSITORY or not _REPOSITORY.fullmatch(repository):
        message = f"{repository[:100]!r} is not the name of an image"
        raise ValueError(message)
    return Image(registry, repository, tag, digest)


def _tagged(name: str) -> tuple[str, str]:
    """Split off the tag: a colon before the last slash is that of a port."""
    path, colon, tag = name.rpartition(":")
    return (path, tag) if colon and "/" not in tag else (name, LATEST)


def _placed(path: str) -> tuple[str, str]:
    """Split off the registry.

    Raises:
        ValueError: there is none.

    """
    first, slash, rest = path.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return first, rest
    message = (
        f"{path[:100]!r} does not name its registry: write the host before it, "
        "as in registry.example.com/team/module"
    )
    raise ValueError(message)
