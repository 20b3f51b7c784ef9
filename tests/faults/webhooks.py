"""Webhooks: certificates, roots and bundles change while pods are created in an API server."""

import asyncio
from pathlib import Path

from libs.inject import webhooks
from libs.kube.client import Client
from libs.runtime.tasks import background
from services.ca.secrets import OWN, ROTATE
from tests.faults.figures import CLOCK, Figure, Length, Note, seconds_until
from tests.support import kube_accounts as kube
from tests.support.admission_load import Load, follow_roots
from tests.support.kube_apiserver import running
from tests.support.kube_ca import SECRETS
from tests.support.kube_webhook import CONFIGURATIONS, RunningWebhook, running_webhook

RECIPE = "a webhook"
PODS_A_SECOND = 10
EVERY_20_SECONDS = {"certificate_seconds": 160, "confirm_seconds": 1}
"""A certificate begins two minutes early and is renewed at half of its life."""
EVERY_SECOND = {"certificate_seconds": 15, "confirm_seconds": 1}
MERGE = "application/merge-patch+json"


async def measure(folder: Path, length: Length, note: Note) -> None:
    """Rotate under load, and then take the bundle away."""
    (folder / "api").mkdir()
    with running(folder / "api") as server:
        async with kube.client_of(server, folder) as client:
            changes = EVERY_SECOND if length.quick else EVERY_20_SECONDS
            async with running_webhook(server, folder, client, ca_changes=changes) as webhook:
                await _rotating(webhook, client, folder, note=note, seconds=length.rotating)
                await _without_bundle(webhook, client, note)


async def _rotating(
    webhook: RunningWebhook, client: Client, folder: Path, *, note: Note, seconds: float
) -> None:
    load = Load(webhook, pause=1 / PODS_A_SECOND)
    async with background(
        follow_roots(client, folder / "roots.pem"), load.create(), load.shake_hands()
    ):
        for turn in range(3):
            body = {"metadata": {"annotations": {ROTATE: f"turn {turn}"}}}
            await client.request("PATCH", f"{SECRETS}/{OWN}", body=body, content_type=MERGE)
            await CLOCK.sleep(seconds / 3)
    pods = load.counts["injected"] + load.counts["not injected"] + load.counts["failed"]
    bad = pods - load.counts["injected"]
    value = (
        f"{len(load.serials)} certificates, 3 root rotations asked for, {pods} pods, "
        f"failed {load.counts['failed']}, not injected {load.counts['not injected']}, "
        f"handshakes failed {load.counts['handshakes failed']} of {load.counts['handshakes']}"
    )
    bad += load.counts["handshakes failed"]
    note(Figure(RECIPE, f"rotation for {seconds:.0f} s", value, bad == 0))


async def _without_bundle(webhook: RunningWebhook, client: Client, note: Note) -> None:
    """Take the caBundle out of the configuration by hand."""
    before = await webhook.bundle()
    path = f"{CONFIGURATIONS}/{webhooks.configuration(webhook.target)['metadata']['name']}"
    found = await client.get(path)
    for one in found["webhooks"]:
        one["clientConfig"].pop("caBundle", None)
    await client.request("PUT", path, body=found)

    async def is_back() -> bool:
        return await webhook.bundle() == before

    repaired = await seconds_until(is_back)
    started = CLOCK.monotonic()
    async with asyncio.timeout(60):
        await webhook.works()
    works = CLOCK.monotonic() - started
    value = f"repaired after {repaired:.2f} s, admissions go through {works:.2f} s later"
    note(Figure(RECIPE, "caBundle deleted by hand", value))
