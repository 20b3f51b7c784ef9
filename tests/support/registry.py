"""A registry of images: the pulling half of the OCI distribution specification's API, in memory.

With `users` it wants tokens, which its own `/token` sells to who proves one of them by Basic or by
a refresh token; with `basic` it wants user and password themselves. What is pushed are documents
and blobs by digest, so a test can also put a lie under one (`swap`).
"""

import gzip
import hashlib
import io
import json
import ssl
import tarfile
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from msgspec import Struct

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
MODULE_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
MODULE_CONFIG = "application/vnd.module.wasm.config.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"


class Stored(Struct):
    """What lies under a name."""

    body: bytes
    kind: str = "application/octet-stream"


class Registry:
    """The registry; `host` is where it stands while it serves."""

    def __init__(self, *, users: Mapping[str, str] | None = None, basic: bool = False) -> None:
        self.host = ""
        self.asked: list[str] = []
        """Each request, as `<method> <path>`, with ` as <user>` behind it if it proves one."""
        self.redirects: dict[str, str] = {}
        """Digests of blobs, and the URLs where they are instead."""
        self.realm = ""
        """Who sells tokens; empty: the registry itself."""
        self._users = users
        self._basic = basic
        self._names: dict[tuple[str, str], Stored] = {}  # by repository and tag or digest
        self._blobs: dict[tuple[str, str], Stored] = {}

    def push(self, repository: str, tag: str, body: bytes, kind: str) -> str:
        """Put a manifest or index under its tag and its digest; return that."""
        digest = digest_of(body)
        self._names[repository, digest] = Stored(body, kind)
        if tag:
            self._names[repository, tag] = Stored(body, kind)
        return digest

    def push_blob(self, repository: str, body: bytes, kind: str) -> dict[str, Any]:
        """Put a blob under its digest; return its descriptor."""
        digest = digest_of(body)
        self._blobs[repository, digest] = Stored(body)
        return {"mediaType": kind, "digest": digest, "size": len(body)}

    def push_image(
        self,
        repository: str,
        tag: str,
        *layers: tuple[bytes, str],
        kind: str = OCI_MANIFEST,
        config: str = _CONFIG,
    ) -> str:
        """Put an image of `layers` (content, media type) under its tag; return its digest."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": self.push_blob(repository, b"{}", config),
            "layers": [self.push_blob(repository, body, media) for body, media in layers],
        }
        return self.push(repository, tag, json.dumps(manifest).encode(), kind)

    def push_module(self, repository: str, tag: str, module: bytes) -> str:
        """Put a module under its tag, as an artifact; return the digest of its manifest."""
        layers = ((module, MODULE_LAYER), (b"{}", "application/json"))
        return self.push_image(repository, tag, *layers, config=MODULE_CONFIG)

    def push_index(self, repository: str, tag: str, *images: tuple[str, str, str]) -> str:
        """Put an index of `images` (digest, os, architecture) under its tag; return its digest."""
        entries = [
            {
                "mediaType": OCI_MANIFEST,
                "digest": digest,
                "size": len(self._names[repository, digest].body),
                "platform": {"os": system, "architecture": architecture},
            }
            for digest, system, architecture in images
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        return self.push(repository, tag, json.dumps(index).encode(), OCI_INDEX)

    def swap(self, repository: str, digest: str, body: bytes) -> None:
        """Put something else under a digest."""
        held = self._names if (repository, digest) in self._names else self._blobs
        held[repository, digest].body = body

    @asynccontextmanager
    async def serving(
        self, tls: ssl.SSLContext | None = None, address: str = "127.0.0.1"
    ) -> AsyncIterator["Registry"]:
        """Serve while the block runs."""
        application = web.Application()
        application.router.add_get("/v2/", self._root)
        application.router.add_get(r"/v2/{repository:.+}/manifests/{name}", self._manifest)
        application.router.add_get(r"/v2/{repository:.+}/blobs/{name}", self._blob)
        application.router.add_get("/token", self._sell)
        application.router.add_post("/token", self._sell_for_token)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, address, 0, ssl_context=tls)
        await site.start()
        self.host = f"{address}:{runner.addresses[0][1]}"
        scheme = "https" if tls else "http"
        self.realm = self.realm or f"{scheme}://{self.host}/token"
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _root(self, request: web.Request) -> web.Response:
        return self._refusal(request) or web.json_response({})

    async def _manifest(self, request: web.Request) -> web.Response:
        return self._held(request, self._names, "MANIFEST_UNKNOWN")

    async def _blob(self, request: web.Request) -> web.Response:
        if (elsewhere := self.redirects.get(request.match_info["name"])) is not None:
            self._note(request)
            raise web.HTTPTemporaryRedirect(elsewhere)
        return self._held(request, self._blobs, "BLOB_UNKNOWN")

    def _held(
        self, request: web.Request, held: Mapping[tuple[str, str], Stored], unknown: str
    ) -> web.Response:
        if refusal := self._refusal(request):
            return refusal
        name = request.match_info["name"]
        found = held.get((request.match_info["repository"], name))
        if found is None:
            return _error(404, unknown)
        headers = {"Docker-Content-Digest": digest_of(found.body), "Content-Type": found.kind}
        return web.Response(body=found.body, headers=headers)

    def _refusal(self, request: web.Request) -> web.Response | None:
        user = self._note(request)
        if self._users is None or user:
            return None
        repository = request.match_info.get("repository", "")
        service = f'service="{self.host}",scope="repository:{repository}:pull"'
        wanted = 'Basic realm="here"' if self._basic else f'Bearer realm="{self.realm}",{service}'
        return _error(401, "UNAUTHORIZED", {"WWW-Authenticate": wanted})

    def _note(self, request: web.Request) -> str:
        user = self._proved(request.headers.get("Authorization", ""))
        self.asked.append(f"{request.method} {request.path}{f' as {user}' if user else ''}")
        return user

    def _proved(self, authorization: str) -> str:
        """Return whom a request proves: a user, or by a token the one that it was sold to."""
        scheme, _, proof = authorization.partition(" ")
        if scheme == "Bearer":
            return proof.removeprefix("token-of-") if proof.startswith("token-of-") else ""
        if scheme != "Basic":
            return ""
        user, _, password = b64decode(proof).decode().partition(":")
        return user if (self._users or {}).get(user) == password else ""

    async def _sell(self, request: web.Request) -> web.Response:
        user = self._note(request)
        assert request.query["scope"].startswith("repository:")
        if not user:
            return _error(401, "UNAUTHORIZED")
        return web.json_response({"token": f"token-of-{user}"})

    async def _sell_for_token(self, request: web.Request) -> web.Response:
        form = await request.post()
        user = str(form["refresh_token"]).removeprefix("refresh-of-")
        self._note(request)
        if form["grant_type"] != "refresh_token" or user not in (self._users or {}):
            return _error(401, "UNAUTHORIZED")
        return web.json_response({"access_token": f"token-of-{user}"})


def digest_of(body: bytes) -> str:
    """Return the digest by which content is named."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def packed(files: Mapping[str, bytes]) -> bytes:
    """Return a layer of an ordinary image: a tar archive of `files`, packed."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as writer:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            writer.addfile(entry, io.BytesIO(content))
    return gzip.compress(archive.getvalue())


def docker_config(host: str, **entry: str) -> bytes:
    """Return what a Secret of `kubernetes.io/dockerconfigjson` holds for one registry."""
    return json.dumps({"auths": {host: entry}}).encode()


def _error(status: int, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"errors": [{"code": code}]}, status=status, headers=headers)
