"""Credentials: what Secrets hold, for config-push alone, which asks by namespace and name.

Keys are never in the mesh, its feed, logs or pages: they are read from the source's resources at
the moment in which somebody who may have them asks. A follower has no queue: it is woken, compares
what there is with what it has sent, and sends the difference; so it cannot fall behind.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc

from libs.api.resource import Resource
from libs.api.secret import Secret
from libs.model.ids import Ref, ref
from libs.protos.credentials.v1 import credentials_pb2, credentials_pb2_grpc
from libs.protos.credentials.v1.credentials_pb2 import Credential, SecretName, Wanted
from libs.runtime.tasks import background

MAX_NAMES = 20_000
"""In one list; far above what the gateways of a large mesh name."""

Context = grpc.aio.ServicerContext[Any, Any]
_Name = tuple[str, str]


class CredentialBook:
    """The Secrets that there are."""

    def __init__(self) -> None:
        self._secrets: Mapping[Ref, Resource] = {}
        self._loaded = False
        self._followers: set[asyncio.Event] = set()

    def publish(self, secrets: Mapping[Ref, Resource]) -> None:
        """Let `secrets` be all that there are. Nobody is told anything before the first call."""
        if self._loaded and secrets is self._secrets:
            return
        self._secrets, self._loaded = secrets, True
        for wake in self._followers:
            wake.set()

    def get(self, namespace: str, name: str) -> Credential | None:
        """Return what a Secret holds, empty if there is none; None before anything is known."""
        if not self._loaded:
            return None
        found = self._secrets.get(ref("Secret", namespace, name))
        credential = Credential(name=SecretName(namespace=namespace, name=name))
        if isinstance(found, Secret):
            credential.certificate = found.value("tls.crt", "cert")
            credential.private_key = found.value("tls.key", "key")
            credential.roots = found.value("ca.crt", "cacert")
            credential.revocations = found.value("ca.crl", "crl")
            credential.ocsp_staple = found.value("tls.ocsp-staple")
        return credential

    @contextmanager
    def followed(self, wake: asyncio.Event) -> Iterator[None]:
        """Set `wake` at every change while the block runs."""
        self._followers.add(wake)
        try:
            yield
        finally:
            self._followers.discard(wake)


class _Follower:
    """What one caller wants and has."""

    def __init__(self, book: CredentialBook) -> None:
        self.wake = asyncio.Event()
        self._book = book
        self._wanted: frozenset[_Name] = frozenset()
        self._sent: dict[_Name, Credential] = {}

    def want(self, names: frozenset[_Name]) -> None:
        """Follow `names` from now on, and forget the others."""
        self._wanted = names
        self._sent = {name: sent for name, sent in self._sent.items() if name in names}
        self.wake.set()

    def news(self) -> Iterator[Credential]:
        """Yield what the caller does not know yet."""
        for name in sorted(self._wanted):
            found = self._book.get(*name)
            if found is not None and self._sent.get(name) != found:
                self._sent[name] = found
                yield found


class CredentialService(credentials_pb2_grpc.CredentialsServicer):
    """Credentials over gRPC. Who may call it is decided by the interceptors."""

    def __init__(self, book: CredentialBook) -> None:
        self._book = book

    async def Follow(  # type: ignore[override]  # noqa: N802 - written, not yielded
        self, request_iterator: AsyncIterator[credentials_pb2.Wanted], context: Context
    ) -> None:
        """Tell the caller what it wants, and whenever that changes."""
        follower = _Follower(self._book)
        with self._book.followed(follower.wake):
            async with background(_tell(follower, context)):
                async for wanted in request_iterator:
                    if len(wanted.names) > MAX_NAMES:
                        text = f"at most {MAX_NAMES} names"
                        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
                    follower.want(_names(wanted))


async def _tell(follower: _Follower, context: Context) -> None:
    while True:
        await follower.wake.wait()
        follower.wake.clear()
        for credential in list(follower.news()):
            await context.write(credential)


def _names(wanted: Wanted) -> frozenset[_Name]:
    return frozenset((name.namespace, name.name) for name in wanted.names)
