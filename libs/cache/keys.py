"""Keys: names of cached values. The whole key is what a value is sealed for.

A key says what kind of thing it is, in which form, and for whom it was made. Different parts give
different keys, whatever the parts contain, so nobody can be handed what was made for another.
"""

from msgspec import Struct

SCHEMA = 1
"""Counts incompatible changes of how values are stored. Who stores adds the form of the content."""

MAX_KEY_BYTES = 1024


class Key(Struct, frozen=True, gc=False):
    """The name of one value. Make it with `key`."""

    text: str

    @property
    def associated(self) -> bytes:
        """What the sealed value is bound to."""
        return self.text.encode()


def key(kind: str, *parts: str) -> Key:
    """Return the key of a `kind` of value (a constant word) for `parts`.

    Raises:
        ValueError: the parts are longer than any key needs to be.

    """
    text = f"seine/{SCHEMA}/{kind}" + "".join(f"/{len(part)}:{part}" for part in parts)
    if len(text.encode()) > MAX_KEY_BYTES:
        message = f"a cache key has at most {MAX_KEY_BYTES} bytes"
        raise ValueError(message)
    return Key(text)
