"""Certificates and roots of the webhook change while pods are created: none is turned away."""

import asyncio
import base64
import ssl
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from libs.kube.client import Client
from libs.kube.errors import KubeError
from libs.pki import bundle
from libs.runtime.tasks import background
from services.ca.root_secret import OWN, ROTATE
from services.webhook.serving import HANDSHAKE_SECONDS
from tests.support import kube_accounts as kube
from tests.support.certificates import TestAuthority
from tests.support.kube_apiserver import ApiServer, running
from tests.support.kube_ca import SECRETS, SYSTEM, root_map
from tests.support.kube_webhook import ACCOUNT, RunningWebhook, running_webhook
from tests.support.pods import pod

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


class Load:
    """Creates pods without a pause, and counts what became of them."""

    def __init__(self, webhook: RunningWebhook) -> None:
        self._webhook = webhook
        self.counts: Counter[str] = Counter()
        self.serials: set[str] = set()
        self.errors: list[str] = []

    async def create(self) -> None:
        while True:
            try:
                made = await self._webhook.create("warm", pod(), dry_run=True)
                injected = "sidecar.istio.io/status" in made["metadata"]["annotations"]
                self.counts["injected" if injected else "not injected"] += 1
            except KubeError as error:
                self.counts["failed"] += 1
                self.errors.append(str(error))

    async def shake_hands(self) -> None:
        """Connect as an API server that has just started, trusting what the bundle says."""
        while True:
            pem = base64.b64decode(await self._webhook.bundle())
            try:
                self.serials.add(await shown(self._webhook.bound.https, pem))
                self.counts["handshakes"] += 1
            except (OSError, TimeoutError) as error:
                self.counts["handshakes failed"] += 1
                self.errors.append(str(error))


async def shown(port: int, roots: bytes) -> str:
    """Return the serial number of the certificate at a port; raises OSError if it is not good."""
    context = ssl.create_default_context(cadata=roots.decode())
    name = f"{ACCOUNT}.{SYSTEM}.svc"
    async with asyncio.timeout(HANDSHAKE_SECONDS):
        _, writer = await asyncio.open_connection(
            "localhost", port, ssl=context, server_hostname=name
        )
    peer = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return str(peer["serialNumber"])


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(90):
        while not await holds():  # noqa: ASYNC110  # an API server is asked, nobody could tell
            await asyncio.sleep(0.1)


async def _follow_roots(client: Client, path: Path) -> None:
    """Do what kubelet does with a mounted ConfigMap."""
    while True:
        await asyncio.to_thread(path.write_text, await root_map(client, SYSTEM))
        await asyncio.sleep(0.2)


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
            _follow_roots(client, tmp_path / "roots.pem"),
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
