"""Source: where a module comes from, and when it is fetched again."""

from msgspec import Struct


class Source(Struct, frozen=True, gc=False):
    """A module as its configuration names it."""

    url: str
    sha256: str = ""  # of the module, or of the image that it comes in
    once: bool = False  # what was fetched before is good
    pull_secret: str = ""  # name under which the control plane knows it, or what it holds
