"""Key fetcher: the public keys of issuers that RequestAuthentications name, fetched regularly.

Each key set that the mesh names is fetched at once, then every 20 minutes; after a failure sooner,
with growing pauses. Keys that cannot be fetched again stay in use for a day and are then taken
back: tokens of that issuer are refused from then on. Nothing ever stands in for keys that are
missing. What is fetched becomes events of `KeySet`, so the mesh changes like by any other resource.

At most `MAX_SOURCES` key sets are fetched; those beyond, in order of their names, are not, which
their policies say. What has happened is kept by key set until it is taken: the last state wins.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import msgspec

from libs.api.resource import Metadata
from libs.api.security.key_set import ISSUER, KEYS, KeySet, key_set_ref
from libs.model.mesh import Mesh
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.translate.apply import Event, Remove, Upsert
from libs.translate.key_sets import KeySetError, public
from services.discovery import metrics
from services.discovery.outgoing import FetchError
from services.discovery.wanted import Wanted

logger = logging.getLogger(__name__)

MAX_SOURCES = 1000
REFRESH_SECONDS = 20 * 60.0
KEEP_SECONDS = 24 * 60 * 60.0
MAX_TIMEOUT = 30.0
_AT_ONCE = 8
_AGAIN = Backoff(first=2.0, factor=2.0, limit=120.0)
_CONFIGURATION = "/.well-known/openid-configuration"


class Get(Protocol):
    """Fetches a URL within so many seconds; raises FetchError."""

    def __call__(self, url: str, *, seconds: float) -> Awaitable[bytes]:
        """Return the body."""
        ...


class KeyFetcher:
    """Fetches what the mesh names; `run` does the work."""

    def __init__(self, get: Get, clock: Clock, emit: Callable[[Event], None]) -> None:
        self._get = get
        self._clock = clock
        self._emit = emit
        self._seconds: Mapping[str, float] = {}  # that a fetch may take, by name
        self._wanted = Wanted(self._keep, self._forget)
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def want(self, mesh: Mesh) -> None:
        """Fetch what `mesh` names, and nothing else."""
        self._seconds = sources(mesh)
        self._wanted.want(self._seconds.keys())

    async def tried(self, seconds: float) -> None:
        """Return once everything wanted was tried once, or after `seconds`."""
        if not await self._wanted.every_one(seconds):
            logger.warning("keys of issuers are still missing", extra={"waited": seconds})

    async def run(self) -> None:
        """Fetch until cancelled."""
        await self._wanted.run()

    def _forget(self, name: str) -> None:
        self._emit(Remove(key_set_ref(name), self._clock.now()))

    async def _keep(self, name: str) -> None:
        """Fetch one key set for as long as it is wanted."""
        keys, fetched, failures = "", 0.0, 0
        while True:
            try:
                keys, fault, failures = await self._fetch(name), "", 0
                fetched = self._clock.monotonic()
            except (FetchError, KeySetError) as error:
                fault, failures = str(error), failures + 1
                if self._clock.monotonic() - fetched > KEEP_SECONDS:
                    keys = ""
            metrics.KEY_FETCHES.labels("failure" if fault else "success").inc()
            (metrics.JWKS_FAILED if fault else metrics.JWKS_FETCHED).inc()
            self._say(name, keys, fault)
            await self._clock.sleep(_pause(failures))

    def _say(self, name: str, keys: str, fault: str) -> None:
        if fault:
            logger.warning("keys not fetched", extra={"source": name, "reason": fault})
        self._emit(Upsert(KeySet(Metadata(name=name), keys, fault), self._clock.now()))
        self._wanted.tried(name)

    async def _fetch(self, name: str) -> str:
        seconds = self._seconds.get(name, MAX_TIMEOUT)
        async with self._slots:
            if name.startswith(ISSUER):
                url = await self._discover(name.removeprefix(ISSUER), seconds)
            else:
                url = name.removeprefix(KEYS)
            return public(await self._get(url, seconds=seconds))

    async def _discover(self, issuer: str, seconds: float) -> str:
        """Return where an issuer says that its keys are."""
        body = await self._get(issuer.rstrip("/") + _CONFIGURATION, seconds=seconds)
        try:
            found = msgspec.json.decode(body, type=_OpenIdConfiguration)
        except (msgspec.DecodeError, RecursionError) as error:
            message = "the issuer's OpenID configuration does not say where its keys are"
            raise FetchError(message) from error
        if found.issuer and found.issuer.rstrip("/") != issuer.rstrip("/"):
            message = f"the OpenID configuration is that of {found.issuer[:200]!r}"
            raise FetchError(message)
        return found.jwks_uri


class _OpenIdConfiguration(msgspec.Struct):
    jwks_uri: str
    issuer: str = ""


def sources(mesh: Mesh) -> Mapping[str, float]:
    """Return the names of the key sets that a mesh needs, with the seconds a fetch may take."""
    found: dict[str, float] = {}
    for policy in mesh.token_policies.values():
        for rule in policy.rules:
            if rule.source:
                seconds = min(rule.timeout / 1000, MAX_TIMEOUT)
                found[rule.source] = max(seconds, found.get(rule.source, 0.0))
    if len(found) > MAX_SOURCES:
        metrics.KEY_SOURCES_OVER.set(len(found) - MAX_SOURCES)
        return {name: found[name] for name in sorted(found)[:MAX_SOURCES]}
    metrics.KEY_SOURCES_OVER.set(0)
    return found


def _pause(failures: int) -> float:
    return _AGAIN.delay(failures - 1, chance()) if failures else REFRESH_SECONDS
