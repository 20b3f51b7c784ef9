"""Certificates and roots of the webhook change while pods are created: none is turned away."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from libs.kube.client import Client
from libs.pki import bundle
from libs.runtime.tasks import background
from services.ca.secrets import OWN, ROTATE
from tests.support import kube_accounts as kube
from tests.support.admission_load import Load, follow_roots, shown
from tests.support.certificates import TestAuthority
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import SECRETS
from tests.support.kube_webhook import running_webhook

WORKERS = 4
SHORT = {"certificate_seconds": 15, "confirm_seconds": 1}
"""Renewed every second: a certificate begins two minutes early, so half of its life is over."""


@pytest.fixture(name="server", scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with running(tmp_path_factory.mktemp("api")) as server:
        yield server


@pytest.fixture(name="client")
async def client_of_it(server: ApiServer, tmp_path: Path) -> AsyncIterator[Client]:
    async with kube.client_of(server, tmp_path) as client:
        yield client


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await holds():  # noqa: ASYNC110  # an API server is asked, nobody could tell
            await asyncio.sleep(0.1)


def _roots(text: str) -> set[bytes]:
    found = bundle.parse(base64.b64decode(text))
    return {bundle.to_pem([one]) for one in found}


async def test_a_root_is_rotated_and_no_admission_fails(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    async with running_webhook(server, tmp_path, client, ca_changes=SHORT) as webhook:
        first = _roots(await webhook.bundle())
        load = Load(webhook)

        async def replaced() -> bool:
            new = _roots(await webhook.bundle()) - first
            try:
                await shown(webhook.bound.https, b"".join(new))
            except (OSError, ValueError):
                return False
            return True

        async with background(
            follow_roots(client, tmp_path / "roots.pem"),
            load.shake_hands(),
            *(load.create() for _ in range(WORKERS)),
        ):
            body = {"metadata": {"annotations": {ROTATE: "now"}}}
            await client.request(
                "PATCH",
                f"{SECRETS}/{OWN}",
                body=body,
                content_type="application/merge-patch+json",
            )
            await _until(replaced)
        sys.stdout.write(
            f"root rotated: {dict(load.counts)}, {len(load.serials)} certificates, "
            f"failed {load.counts['failed']}\n"
        )
        assert first < _roots(await webhook.bundle()), "the old root stays while it may be needed"
        assert load.counts["failed"] == load.counts["handshakes failed"] == 0
        assert load.counts["not injected"] == 0
        assert load.counts["injected"] > 100
        assert len(load.serials) > 3


async def test_the_load_notices_a_bundle_that_is_wrong(
    server: ApiServer, client: Client, tmp_path: Path
) -> None:
    """The control. A configuration under another name is nobody's to mend."""
    async with running_webhook(server, tmp_path, client) as webhook:
        load = Load(webhook)
        other = _encoded(TestAuthority().issue("any").roots)
        await webhook.lead_elsewhere(other)

        async def failed() -> bool:
            return load.counts["failed"] > 0

        async with background(load.create()):
            await _until(failed)
        assert "certificate" in load.errors[0]


def _encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
