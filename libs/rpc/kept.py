"""Kept: a service's certificate beyond the end of its process, in a folder that its pod has.

A process that starts while no certificate can be had goes on with that of the process before it,
as far as that is still good. The CA has to ask the API server whose a token is, and what is served
from an earlier life is wanted exactly when that server is away. Nobody makes pods then either; so
whoever restarts is a container, and finds the folder of its pod again.

What makes a certificate good, and how a private key is written, is passed in: this room knows no
cryptography.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct

from libs.rpc.tls import Material

logger = logging.getLogger(__name__)

NAME = "certificate.json"


class Handling(Struct, frozen=True):
    """What is passed in."""

    write: Callable[[Path, bytes], None]
    """Writes a file that only its owner reads, whole: `libs.pki.files.write_private`."""
    check: Callable[[bytes, bytes, bytes], None]
    """Takes key, chain and roots, and raises `refusal` if they are no good certificate now."""
    refusal: type[Exception]


class Kept:
    """The latest certificate in a folder."""

    def __init__(self, folder: Path, handling: Handling) -> None:
        self._path = folder / NAME
        self._handling = handling

    @classmethod
    def within(cls, folder: Path | None, handling: Handling) -> "Kept | None":
        """Return what is kept in a folder, or None without one."""
        return None if folder is None else cls(folder, handling)

    def load(self) -> Material | None:
        """Return the certificate of the process before, if there is one that is good."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=Material)
            self._handling.check(found.key, found.chain, found.roots)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, self._handling.refusal) as error:
            logger.warning("kept certificate not used", extra={"reason": str(error)})
            return None
        return found

    def keep(self, material: Material) -> None:
        """Keep `material` for the process after this one; a folder that is full costs only that."""
        try:
            self._handling.write(self._path, msgspec.json.encode(material))
        except OSError as error:
            logger.warning("certificate not kept", extra={"reason": str(error)})
