"""Fetch: a module of WebAssembly into a file, over HTTP or out of an image, within limits.

What is asked is said by `door`, what is taken by `body`. Whatever happens, it ends after SECONDS.
"""

import asyncio
import zlib
from pathlib import Path

from msgspec import Struct

from libs.model.images import parse_image
from libs.runtime.reach import UnreachableError
from services.agent.http.client import HttpError
from services.agent.modules import structure
from services.agent.modules.accounts import NOBODY, account
from services.agent.modules.body import unpacked, written
from services.agent.modules.door import Door
from services.agent.modules.errors import DigestError, ModuleError
from services.agent.modules.registry import Registry

SECONDS = 30.0

_IMAGE = "oci://"


class Fetched(Struct, frozen=True):
    """A module that was had."""

    sha256: str
    """Its digest, in hexadecimal."""
    known_as: frozenset[str] = frozenset()
    """Digests of what it came in: whoever asks for one of them asks for this module."""


async def fetch_module(
    url: str, into: Path, *, door: Door, sha256: str = "", secret: bytes = b""
) -> Fetched:
    """Write the module behind `url` to the file `into`.

    `secret` is Docker's configuration, for registries.

    Raises:
        ModuleError: it cannot be had, may not, or is not what was asked for.

    """
    try:
        async with asyncio.timeout(SECONDS):
            found = await _fetch(url, into, door=door, secret=secret)
    except TimeoutError as error:
        message = f"no answer within {SECONDS:g} s"
        raise ModuleError(message) from error
    except (HttpError, UnreachableError, OSError, ValueError, zlib.error) as error:
        raise ModuleError(str(error) or type(error).__name__) from error
    if sha256 and sha256 not in {found.sha256, *found.known_as}:
        what = " or ".join(sorted(found.known_as)) or found.sha256
        message = f"its sha256 is {what}, not {sha256}"
        raise DigestError(message)
    structure.outline(into)
    return found


async def _fetch(url: str, into: Path, *, door: Door, secret: bytes) -> Fetched:
    if not url.startswith(_IMAGE):
        async with door.open(url, (("Accept", "*/*"),)) as response:
            if response.status != 200:
                message = f"status {response.status}"
                raise ModuleError(message)
            return Fetched(await written(unpacked(response.chunks()), into))
    image = parse_image(url)
    who = account(secret, image.registry) if secret else NOBODY
    pulled = await Registry(image, door, who).pull(into)
    return Fetched(pulled.sha256, pulled.images)
