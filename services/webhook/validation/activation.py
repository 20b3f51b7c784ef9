"""Activation: validation is enforced once it was seen to work, and never before.

A configuration that says `failurePolicy: Fail` while nobody can answer stops every change of the
mesh's resources. So it is applied with Ignore. As long as a webhook of ours says Ignore, a resource
that must be refused is created as a dry run; only if the API server says that this very webhook has
refused it, the policy becomes Fail. Somebody who sets it back finds it enforced again.
A failed attempt is repeated with growing pauses, and at once when the configuration changes.
"""

import asyncio
import logging
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from libs.kube.client import Client
from libs.kube.errors import ApiError, KubeError, NotFoundError
from libs.kube.follow import Change
from libs.runtime.backoff import Backoff, chance
from libs.runtime.clock import Clock
from libs.runtime.tasks import pause
from services.webhook import metrics
from services.webhook.validation import configuration
from services.webhook.validation.configuration import Target

logger = logging.getLogger(__name__)

BACKOFF = Backoff(first=1.0, limit=60.0)
JSON_PATCH = "application/json-patch+json"


class _Webhook(Struct, frozen=True, rename="camel"):
    name: str
    failure_policy: str = "Fail"


class _Configuration(Struct, frozen=True):
    webhooks: tuple[_Webhook, ...] = ()


class Unproven(Exception):  # noqa: N818 - an outcome, not a failure of ours
    """The known bad resource was not refused by the webhook; says what happened."""


class Activation:
    """Enforces the webhooks of a target. `take` is told of configurations, `run` does the work."""

    def __init__(self, client: Client, target: Target, clock: Clock) -> None:
        self._client = client
        self._target = target
        self._clock = clock
        self._known: dict[str, _Configuration] = {}
        self._changed = asyncio.Event()

    async def take(self, changes: Sequence[Change]) -> None:
        """Take note of configurations as they are; others than the target's are ignored."""
        for change in changes:
            name = change.name.name
            if name not in self._target.names:
                continue
            if change.raw is None:
                self._known.pop(name, None)
            else:
                self._known[name] = msgspec.json.decode(change.raw, type=_Configuration)
            self._changed.set()
        self._measure()

    async def run(self) -> None:
        """Enforce until cancelled."""
        attempt = 0
        while True:
            self._changed.clear()
            left = [await self._enforce(*one) for one in self._ignored()]
            if all(left):
                attempt = 0
                await self._changed.wait()
            else:
                await pause(BACKOFF.delay(attempt, chance()), self._changed, self._clock)
                attempt += 1

    def _ignored(self) -> list[tuple[str, int, str]]:
        return [
            (name, index, webhook.name)
            for name, known in self._known.items()
            for index, webhook in enumerate(known.webhooks)
            if webhook.failure_policy != "Fail"
        ]

    async def _enforce(self, name: str, index: int, webhook: str) -> bool:
        """Return whether the webhook is enforced now."""
        try:
            await self._prove(webhook)
            await self._patch(name, index, webhook)
        except (KubeError, Unproven) as error:
            logger.warning(
                "validation not enforced yet", extra={"webhook": webhook, "error": str(error)}
            )
            return False
        logger.info("validation enforced", extra={"webhook": webhook})
        return True

    async def _prove(self, webhook: str) -> None:
        path = f"/apis/networking.istio.io/v1/namespaces/{self._target.system_namespace}/gateways"
        bad = configuration.known_bad(self._target, webhook)
        try:
            await self._client.request("POST", path, params={"dryRun": "All"}, body=bad)
        except ApiError as error:
            if f'admission webhook "{webhook}" denied the request' in error.message:
                return
            raise
        message = "a resource that must be refused was let through"
        raise Unproven(message)

    async def _patch(self, name: str, index: int, webhook: str) -> None:
        at = f"/webhooks/{index}"
        patch = [
            {"op": "test", "path": f"{at}/name", "value": webhook},
            {"op": "replace", "path": f"{at}/failurePolicy", "value": "Fail"},
        ]
        try:
            await self._client.request(
                "PATCH", f"{configuration.PATH}/{name}", body=patch, content_type=JSON_PATCH
            )
        except NotFoundError:
            self._known.pop(name, None)

    def _measure(self) -> None:
        for webhook in (configuration.REVISION_WEBHOOK, configuration.DEFAULT_WEBHOOK):
            policies = {
                it.failure_policy
                for known in self._known.values()
                for it in known.webhooks
                if it.name == webhook
            }
            metrics.VALIDATION_ENFORCED.labels(webhook).set(policies == {"Fail"})
