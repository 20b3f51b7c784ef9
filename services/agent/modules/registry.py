"""Registry: a module out of an image, by the API of the OCI distribution specification.

Manifest and layer are named by digests, and each is compared with its own. What a tag stands for is
the registry's word; who wants more writes a digest. A registry is asked over https; one that need
not prove itself (`Door.insecure`, or a loopback address where those are asked) also in clear text.
"""

import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec import Struct

from libs.model.images import Image
from services.agent.http.client import HttpError, Response
from services.agent.modules import archive, body, manifest
from services.agent.modules.accounts import NOBODY, Account
from services.agent.modules.challenge import authorization
from services.agent.modules.door import Door
from services.agent.modules.errors import ModuleError
from services.agent.modules.manifest import Descriptor, Document

MAX_MANIFEST = 1024 * 1024

_ACCEPT = ("Accept", ", ".join(manifest.MANIFESTS + manifest.INDEXES))
_LOOPBACK = ("localhost", "127.", "[::1]")


class Pulled(Struct, frozen=True):
    """A module that was had."""

    sha256: str  # of the module
    images: frozenset[str]  # digests of the manifest, and of the index that named it


class Registry:
    """One conversation about one image."""

    def __init__(self, image: Image, door: Door, account: Account = NOBODY) -> None:
        self._image = image
        self._door = door
        self._account = account
        self._scheme = ""
        self._authorization: str | None = None  # not known yet whether one is wanted

    async def pull(self, into: Path) -> Pulled:
        """Write the module to the file `into`.

        Raises:
            ModuleError: there is none.
            HttpError: the registry does not answer.
            libs.runtime.reach.UnreachableError: it is not asked.

        """
        digest, found = await self._manifest(self._image.reference)
        digests = {digest}
        if found.manifests:
            digest, found = await self._manifest(_sha256(manifest.image(found)))
            digests.add(digest)
        layer, packed = manifest.layer(found)
        return Pulled(await self._write(layer, into, packed=packed), frozenset(digests))

    async def _manifest(self, reference: str) -> tuple[str, Document]:
        async with self._get(f"manifests/{reference}", _ACCEPT) as response:
            content = await response.whole(MAX_MANIFEST)
        digest = hashlib.sha256(content).hexdigest()
        if reference.startswith("sha256:") and reference != f"sha256:{digest}":
            message = f"the registry's manifest {reference} is another: its sha256 is {digest}"
            raise ModuleError(message)
        return digest, manifest.read(content)

    async def _write(self, layer: Descriptor, into: Path, *, packed: bool) -> str:
        if layer.size > body.MAX_BYTES:
            message = f"it is longer than {body.MAX_BYTES} bytes"
            raise ModuleError(message)
        digest = hashlib.sha256()
        async with self._get(f"blobs/{_sha256(layer)}", ("Accept", "*/*")) as response:
            pieces = body.unpacked(_noted(response, digest))
            found = await body.written(archive.plugin(pieces) if packed else pieces, into)
        if layer.digest != f"sha256:{digest.hexdigest()}":
            message = f"the registry's layer {layer.digest} is another"
            raise ModuleError(message)
        return found

    @asynccontextmanager
    async def _get(self, what: str, accept: tuple[str, str]) -> AsyncIterator[Response]:
        """Ask about the image; a first refusal tells what is wanted before the second asking."""
        url = f"{await self._base()}/v2/{self._image.repository}/{what}"
        if self._authorization is None:
            async with self._door.open(url, (accept,)) as response:
                if response.status != 401:
                    self._authorization = ""
                    _require_success(response)
                    yield response
                    return
                challenge = response.headers.get("www-authenticate", "")
            self._authorization = await self._answer_to(challenge)
        proof = (("Authorization", self._authorization),) if self._authorization else ()
        async with self._door.open(url, (accept, *proof)) as response:
            _require_success(response)
            yield response

    async def _answer_to(self, challenge: str) -> str:
        scope = f"repository:{self._image.repository}:pull"
        clear = self._scheme == "http"
        return await authorization(challenge, self._account, self._door, scope=scope, clear=clear)

    async def _base(self) -> str:
        if not self._scheme:
            self._scheme = "http" if await self._speaks_clear_text() else "https"
        return f"{self._scheme}://{self._image.registry}"

    async def _speaks_clear_text(self) -> bool:
        place = self._image.registry
        here = self._door.reach.loopback and place.startswith(_LOOPBACK)
        if not (here or self._door.is_insecure(place)):
            return False
        try:
            async with self._door.open(f"https://{place}/v2/"):
                return False
        except HttpError as error:
            return isinstance(error.__cause__, ssl.SSLError) and _is_no_tls(error.__cause__)


def _is_no_tls(error: ssl.SSLError) -> bool:
    return error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}


def _require_success(response: Response) -> None:
    if response.status != 200:
        message = f"the registry answered {response.status}"
        raise ModuleError(message)


def _sha256(part: Descriptor) -> str:
    """Return a digest that can be compared.

    Raises:
        ModuleError: it is one of another kind.

    """
    name, _, digest = part.digest.partition(":")
    if name != "sha256" or len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        message = f"the registry names a part by {part.digest[:100]!r}, which is no sha256"
        raise ModuleError(message)
    return part.digest


async def _noted(response: Response, digest: "hashlib._Hash") -> AsyncIterator[bytes]:
    async for chunk in response.chunks():
        digest.update(chunk)
        yield chunk
