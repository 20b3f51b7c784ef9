"""Credentials: what Secrets hold, for config-push alone, which asks by namespace and name.

Keys are never in the mesh, its feed, logs or pages: they are read from the source's resources at
the moment in which somebody who may have them asks. A follower has no queue: it is woken, compares
what there is with what it has sent, and sends the difference; so it cannot fall behind.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc

from libs.api.resource import Resource
from libs.api.secret import Secret
from libs.kube.access_review import AccessReviewer, Question
from libs.kube.errors import KubeError
from libs.model.ids import Ref, ref
from libs.protos.credentials.v1 import credentials_pb2, credentials_pb2_grpc
from libs.protos.credentials.v1.credentials_pb2 import Credential, SecretName, Wanted
from libs.rpc import writing
from libs.rpc.writing import ends_when_gone
from libs.runtime.clock import Clock, SystemClock
from libs.runtime.tasks import background

logger = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 15.0
ROOTS_SUFFIX = "-cacert"
"""Ends the names of Secrets that hold roots and no key of anybody."""
MAX_NAMES = 20_000
"""In one list; far above what the gateways of a large mesh name."""

Context = grpc.aio.ServicerContext[Any, Any]
_Wanted = tuple[str, str, str, bool]  # namespace, name, service account, for a registry

May = Callable[[str, str], Awaitable[bool]]
"""Tells whether a service account (namespace, name) may read the Secrets of its namespace; raises
KubeError if nobody can say."""


async def everybody(namespace: str, account: str) -> bool:
    """Let everybody read the Secrets of its own namespace: there is no cluster with other rules."""
    del namespace, account
    return True


def by_review(reviewer: AccessReviewer) -> May:
    """Let those read Secrets whom the cluster's own rules let list them, as Istio does."""

    async def may(namespace: str, account: str) -> bool:
        question = Question(
            namespace=namespace,
            service_account=account,
            verb="list",
            resource="secrets",
            within=namespace,
        )
        return bool(namespace and account) and await reviewer.may(question)

    return may


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

    def get(self, asked: SecretName) -> Credential | None:
        """Return what a Secret holds, empty if there is none; None before anything is known."""
        if not self._loaded:
            return None
        found = self._secrets.get(ref("Secret", asked.namespace, asked.name))
        credential = Credential(name=asked)
        if not isinstance(found, Secret):
            return credential
        if asked.registry:
            credential.registry = found.registry
        else:
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

    def __init__(self, book: CredentialBook, may: May) -> None:
        self.wake = asyncio.Event()
        self._book = book
        self._may = may
        self._wanted: frozenset[_Wanted] = frozenset()
        self._sent: dict[_Wanted, Credential] = {}

    def want(self, names: frozenset[_Wanted]) -> None:
        """Follow `names` from now on, and forget the others."""
        self._wanted = names
        self._sent = {name: sent for name, sent in self._sent.items() if name in names}
        self.wake.set()

    async def news(self) -> AsyncIterator[Credential]:
        """Yield what the caller does not know yet, and what it may not have any more."""
        accounts = {
            (space, account) for space, _, account, registry in self._wanted if not registry
        }
        allowed = {of: await self._allowed(of) for of in sorted(accounts)}
        for wanted in sorted(self._wanted):
            namespace, name, account, registry = wanted
            asked = SecretName(
                namespace=namespace, name=name, service_account=account, registry=registry
            )
            found = self._book.get(asked)
            if found is None:
                continue
            may = True if registry else allowed.get((namespace, account), False)
            if may is None:
                continue  # nobody knows: nothing new is given, nothing is taken away
            told = found if may else _without_permission(found)
            if self._sent.get(wanted) != told:
                self._sent[wanted] = told
                yield told

    async def _allowed(self, account: tuple[str, str]) -> bool | None:
        try:
            return await self._may(*account)
        except KubeError as error:
            logger.warning("permission not known", extra={"reason": str(error)})
            return None


def _without_permission(found: Credential) -> Credential:
    """Return what everybody in the namespace may know: roots to believe, if they lie apart."""
    told = Credential(name=found.name)
    if found.name.name.endswith(ROOTS_SUFFIX):
        told.roots, told.revocations = found.roots, found.revocations
    return told


class CredentialService(credentials_pb2_grpc.CredentialsServicer):
    """Credentials over gRPC. Who may call it is decided by the interceptors."""

    def __init__(
        self, book: CredentialBook, may: May = everybody, *, clock: Clock | None = None
    ) -> None:
        self._book = book
        self._may = may
        self._clock = clock or SystemClock()

    async def Follow(  # type: ignore[override]  # noqa: N802 - written, not yielded
        self, request_iterator: AsyncIterator[credentials_pb2.Wanted], context: Context
    ) -> None:
        """Tell the caller what it wants, and whenever that changes."""
        follower = _Follower(self._book, self._may)
        with self._book.followed(follower.wake), ends_when_gone():
            async with background(_tell(follower, context), self._look_again(follower)):
                async for wanted in request_iterator:
                    if len(wanted.names) > MAX_NAMES:
                        text = f"at most {MAX_NAMES} names"
                        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
                    follower.want(_names(wanted))

    async def _look_again(self, follower: _Follower) -> None:
        """Permissions change without an event."""
        while self._may is not everybody:
            await self._clock.sleep(LOOK_AGAIN_SECONDS)
            follower.wake.set()


async def _tell(follower: _Follower, context: Context) -> None:
    while True:
        await follower.wake.wait()
        follower.wake.clear()
        async for credential in follower.news():
            await writing.write(context, credential)


def _names(wanted: Wanted) -> frozenset[_Wanted]:
    return frozenset(
        (name.namespace, name.name, name.service_account, name.registry) for name in wanted.names
    )
