"""Authorities: the `caBundle` of webhook configurations, by which API servers believe our port.

Every replica writes it, in every configuration that leads to our Service; what it writes depends on
the roots alone, so it does not matter who comes first. A bundle that lacks one of our roots,
because somebody applied a manifest, emptied or broke it, is mended as soon as the watch tells.
A configuration that we may not write, such as one that somebody made for a tag by hand, is left and
tried again now and then: its role may come later. Roots that are not ours are taken out only once,
when a replica starts or has got new roots: another replica that still needs one puts it back, and
that is the end of it.
"""

import asyncio
import base64
import binascii
import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from libs.kube.client import Client
from libs.kube.collection import Collection
from libs.kube.errors import ForbiddenError, InvalidError, KubeError, NotFoundError
from libs.kube.follow import Change, Sink
from libs.kube.list import Name
from libs.pki import bundle
from libs.pki.errors import CertificateError
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import pause
from services.webhook import metrics

logger = logging.getLogger(__name__)

BACKOFF = Backoff(first=0.5, limit=15.0)
FORBIDDEN = Backoff(first=1.0, limit=60.0)
"""Pauses until what we may not write is tried again."""
MAX_CONFIGURATIONS = 1000
"""Further ones are left alone, and the log says so."""
JSON_PATCH = "application/json-patch+json"
_GROUP = "admissionregistration.k8s.io"


def _collection(plural: str) -> Collection:
    return Collection(name=f"{plural}.{_GROUP}", paths=(f"/apis/{_GROUP}/v1/{plural}",))


MUTATING = _collection("mutatingwebhookconfigurations")
VALIDATING = _collection("validatingwebhookconfigurations")


class _Service(Struct):
    name: str = ""
    namespace: str = ""


class _ClientConfig(Struct, rename="camel"):
    ca_bundle: str = ""
    service: _Service | None = None


class _Webhook(Struct, rename="camel"):
    name: str = ""
    client_config: _ClientConfig = msgspec.field(default_factory=_ClientConfig)


class _Configuration(Struct):
    webhooks: list[_Webhook] | None = None


Key = tuple[str, str]  # path of the collection, name
Patch = list[dict[str, str]]


class Authorities:
    """Keeps the bundles. `sink` takes note of configurations, `run` mends them."""

    def __init__(self, client: Client, services: frozenset[tuple[str, str]], clock: Clock) -> None:
        """`services` are `(namespace, name)` of the Services that lead here."""
        self._client = client
        self._services = services
        self._clock = clock
        self._roots = b""
        self._known: dict[Key, _Configuration] = {}
        self._exact = False
        self._settled: set[Key] = set()
        self._forbidden: set[Key] = set()
        self._told: set[Key] = set()
        self._changed = asyncio.Event()

    def sink(self, collection: Collection) -> Sink:
        """Return what takes changes of a collection."""

        async def take(changes: Sequence[Change]) -> None:
            for change in changes:
                self._note((collection.paths[0], change.name.name), change)
            self._changed.set()

        return take

    def _note(self, key: Key, change: Change) -> None:
        if change.raw is None:
            self._known.pop(key, None)
            self._told.discard(key)
            return
        try:
            found = msgspec.json.decode(change.raw, type=_Configuration)
        except msgspec.MsgspecError:
            return  # of a version that we do not know
        if not any(self._is_ours(one) for one in found.webhooks or ()):
            self._known.pop(key, None)
        elif key in self._known or len(self._known) < MAX_CONFIGURATIONS:
            self._known[key] = found
        else:
            logger.warning("too many webhook configurations", extra={"left_alone": key[1]})

    def _is_ours(self, webhook: _Webhook) -> bool:
        service = webhook.client_config.service
        return service is not None and (service.namespace, service.name) in self._services

    async def announce(self, roots: bytes) -> None:
        """Make API servers trust `roots` (PEM) as well; return when that is written everywhere."""
        self._roots, self._exact = roots, False
        await self._until_written()

    async def settle(self, roots: bytes) -> None:
        """Make API servers trust `roots` (PEM) and no others, also where nobody has looked yet."""
        self._roots, self._exact = roots, True
        self._settled.clear()
        await self._until_written()

    async def run(self) -> None:
        """Mend bundles until cancelled."""
        attempt = 0
        while True:
            if self._forbidden:
                await pause(FORBIDDEN.delay(attempt, chance()), self._changed, self._clock)
                attempt += 1
            else:
                await self._changed.wait()
                attempt = 0
            self._changed.clear()
            self._forbidden.clear()
            if self._roots:
                await self._until_written()

    async def _until_written(self) -> None:
        attempt = 0
        while left := self._patches():
            try:
                for key, patch in left.items():
                    await self._write(key, patch)
            except KubeError as error:
                delay = BACKOFF.delay(attempt, chance())
                attempt += 1
                extra = {"reason": str(error), "retry_seconds": round(delay, 2)}
                logger.warning("ca bundle not written", extra=extra)
                await self._clock.sleep(delay)
        if self._exact:
            self._settled.update(self._known.keys() - self._forbidden)
        metrics.FORBIDDEN.set(len(self._forbidden))

    def _patches(self) -> dict[Key, Patch]:
        found = {}
        for key, configuration in self._known.items():
            if key in self._forbidden:
                continue
            exact = self._exact and key not in self._settled
            patch: Patch = []
            for at, webhook in enumerate(configuration.webhooks or ()):
                if not self._is_ours(webhook):
                    continue
                wanted = mended(webhook.client_config.ca_bundle, self._roots, exact=exact)
                if wanted != webhook.client_config.ca_bundle:
                    patch += _operations(at, webhook.name, wanted)
            if patch:
                found[key] = patch
        return found

    async def _write(self, key: Key, patch: Patch) -> None:
        path, name = key
        metrics.PATCH_ATTEMPTS.labels(name).inc()
        try:
            raw = await self._client.request(
                "PATCH", f"{path}/{name}", body=patch, content_type=JSON_PATCH
            )
        except ForbiddenError as error:
            _count_failure(key, "forbidden")
            self._forbid(key, error)
            return
        except (InvalidError, NotFoundError) as error:
            # Its webhooks have moved, or it is gone: the watch will tell what there is now.
            extra = {"configuration": name, "reason": str(error)}
            logger.warning("configuration left as it is", extra=extra)
            _count_failure(key, "moved")
            self._known.pop(key, None)
            return
        except KubeError:
            metrics.PATCH_RETRIES.labels(name).inc()
            raise
        self._told.discard(key)
        metrics.PATCHED.inc()
        if path in VALIDATING.paths:
            metrics.VALIDATION_CONFIG_UPDATES.inc()
        logger.info("ca bundle written", extra={"configuration": name})
        change = Change(Name("", name), msgspec.Raw(msgspec.json.encode(raw)))
        self._note(key, change)

    def _forbid(self, key: Key, error: ForbiddenError) -> None:
        """Leave a configuration for now; the log says so once."""
        self._forbidden.add(key)
        if key not in self._told:
            self._told.add(key)
            extra = {"configuration": key[1], "reason": str(error)}
            logger.warning("configuration may not be written: its role is missing", extra=extra)


def _count_failure(key: Key, reason: str) -> None:
    path, name = key
    metrics.PATCH_FAILURES.labels(name, reason).inc()
    if path in VALIDATING.paths:
        metrics.VALIDATION_CONFIG_ERRORS.labels(reason).inc()


def mended(current: str, roots: bytes, *, exact: bool) -> str:
    """Return the `caBundle` to have instead of `current`; the same if it is good.

    Args:
        current: base64 of PEM, or whatever somebody has written there.
        roots: PEM of the roots that must be in it.
        exact: nothing else may be in it.

    """
    wanted = bundle.parse(roots)
    try:
        present = bundle.parse(base64.b64decode(current, validate=True))
    except (CertificateError, binascii.Error, ValueError):
        present = []
    others = [one for one in present if one not in wanted]
    if all(one in present for one in wanted) and not (exact and others):
        return current
    kept = wanted if exact else bundle.union(wanted, others)
    return base64.b64encode(bundle.to_pem(kept)).decode()


def _operations(at: int, name: str, value: str) -> Patch:
    """The test refuses the patch if the list was changed meanwhile."""
    return [
        {"op": "test", "path": f"/webhooks/{at}/name", "value": name},
        {"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": value},
    ]
