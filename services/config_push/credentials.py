"""Credentials: users' certificates for the proxies that may have them, over the ADS stream.

A proxy may have a Secret of the namespace that its own credential proves, and only one that its
configuration names, and in a cluster only if its service account may list Secrets there, which
discovery finds out; to everything else it is told the same as to what does not exist. Keys are
asked of discovery by name, held only while a proxy that may have them is connected, and are part of
nothing else: not of the mesh, not of the classes of resources, the cache, the pages or the logs.
Who one is to registries of images is for the agents of proxies that were offered an extension of
the Secret's namespace which names it (`libs.xds.credentials`).

Nothing queues: what is wanted is one list, the latest, and what is known is one credential a name.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import grpc
import grpc.aio

from libs.protos.credentials.v1.credentials_pb2 import Credential, SecretName, Wanted
from libs.rpc.errors import NotReadyError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.xds import credentials
from libs.xds.credentials import CredentialName, Material
from libs.xds.types import CLUSTER, EXTENSION, LISTENER, SECRET, NamedResource, field
from services.config_push import metrics
from services.config_push.connection import Connection

logger = logging.getLogger(__name__)

Follow = Callable[[AsyncIterator[Wanted]], AsyncIterator[Credential]]
"""Follows discovery: lists of names in, credentials out."""

_Secret = tuple[str, str, str, bool]
"""Namespace, name, the service account that may have it, and whether it is for registries, which
no account has a permission for."""
_NOTHING = Material()


class _Asked:
    """What one stream asks for, and what of that it may have."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.names: dict[str, CredentialName] = {}

    def update(self) -> None:
        """Look again at what the proxy asks for and at what its configuration names."""
        watch = self.connection.session.watches.get(SECRET)
        namespace = self.connection.peer.identity.namespace
        asked = watch.wanted.names if watch else frozenset()
        parsed = ((name, credentials.parse(name, namespace)) for name in asked)
        self.names = {
            name: found for name, found in parsed if found and _names(self.connection, name, found)
        }

    @property
    def secrets(self) -> frozenset[_Secret]:
        """The Secrets that this takes."""
        return frozenset(
            self.secret(wanted, name) for wanted in self.names.values() for name in wanted.secrets
        )

    def secret(self, wanted: CredentialName, name: str) -> _Secret:
        """Return under what a Secret is held for this stream."""
        account = "" if wanted.registry else self.connection.peer.identity.service_account
        return wanted.namespace, name, account, wanted.registry


def _names(connection: Connection, name: str, wanted: CredentialName) -> bool:
    """Tell whether what a proxy was offered names a credential.

    In an SDS configuration the name is the first field, so that its bytes stand there as such.
    """
    if wanted.registry:
        extensions = connection.before.get(EXTENSION)
        found = extensions.resources.values() if extensions else ()
        return credentials.names_registry(name, wanted, found)
    needle = field(1, name)
    kinds = (connection.before.get(type_url) for type_url in (LISTENER, CLUSTER))
    return any(needle in item.body for kind in kinds if kind for item in kind.resources.values())


class CredentialDesk:
    """Hands credentials out, and follows discovery for them."""

    def __init__(self, follow: Follow, *, clock: Clock) -> None:
        self._follow = follow
        self._clock = clock
        self._backoff = Backoff(first=0.2, limit=10.0)
        self._asked: dict[int, _Asked] = {}
        self._known: dict[_Secret, Material] = {}
        self._wake = asyncio.Event()

    @property
    def held(self) -> frozenset[_Secret]:
        """The Secrets of which contents are held."""
        return frozenset(self._known)

    def look(self, connection: Connection) -> None:
        """Look at a stream whose requests or configuration have moved."""
        if SECRET not in connection.session.watches or connection.offered is None:
            return
        asked = self._asked.setdefault(connection.number, _Asked(connection))
        before = asked.secrets
        asked.update()
        if asked.secrets != before:
            self._wake.set()
        self._hand_out(asked)

    def leave(self, connection: Connection) -> None:
        """Forget a stream that has ended, and the keys that nobody else wants."""
        if self._asked.pop(connection.number, None) is not None:
            self._wake.set()

    async def run(self) -> None:
        """Follow discovery until cancelled."""
        attempt = 0
        while True:
            try:
                async for credential in self._follow(self._wanted()):
                    attempt = 0
                    self._take(credential)
            except (grpc.aio.AioRpcError, NotReadyError) as error:
                logger.warning("credentials cannot be followed", extra={"reason": _reason(error)})
            metrics.CREDENTIAL_RESTARTS.inc()
            await self._clock.sleep(self._backoff.delay(attempt, chance()))
            attempt += 1

    async def _wanted(self) -> AsyncIterator[Wanted]:
        """Yield the list of what is wanted, now and whenever it has changed."""
        before: frozenset[_Secret] | None = None
        while True:
            self._wake.clear()
            wanted = frozenset[_Secret]().union(*(one.secrets for one in self._asked.values()))
            if wanted != before:
                self._known = {name: it for name, it in self._known.items() if name in wanted}
                before = wanted
                pairs = sorted(wanted)
                yield Wanted(names=[_name(it) for it in pairs])
            await self._wake.wait()

    def _take(self, credential: Credential) -> None:
        named = credential.name
        secret = (named.namespace, named.name, named.service_account, named.registry)
        self._known[secret] = Material(
            certificate=credential.certificate,
            private_key=credential.private_key,
            roots=credential.roots,
            revocations=credential.revocations,
            ocsp_staple=credential.ocsp_staple,
            registry=credential.registry,
        )
        if self._known[secret] == _NOTHING:
            metrics.SDS_ERRORS.inc()
        for asked in list(self._asked.values()):
            if secret in asked.secrets:
                self._hand_out(asked)

    def _hand_out(self, asked: _Asked) -> None:
        """Offer a proxy its credentials, once it is known of each whether there is one."""
        if asked.secrets - self._known.keys():
            return
        made = (self._made(asked, name, wanted) for name, wanted in asked.names.items())
        namespace = asked.connection.peer.identity.namespace
        found = credentials.credential_set(namespace, [one for one in made if one is not None])
        asked.connection.offer_credentials(found)

    def _made(self, asked: _Asked, name: str, wanted: CredentialName) -> NamedResource | None:
        secrets = (asked.secret(wanted, secret) for secret in wanted.secrets)
        held = [self._known.get(secret, _NOTHING) for secret in secrets]
        if wanted.registry:
            return credentials.registry(name, wanted, held[0])
        if not wanted.roots:
            return credentials.certificate(name, wanted, held[0])
        return next(filter(None, (credentials.roots(name, wanted, one) for one in held)), None)


def _name(wanted: _Secret) -> SecretName:
    namespace, name, account, registry = wanted
    return SecretName(namespace=namespace, name=name, service_account=account, registry=registry)


def _reason(error: Exception) -> str:
    """Return why discovery cannot be followed: gRPC's code and its words."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"NOT_READY: {error}"
