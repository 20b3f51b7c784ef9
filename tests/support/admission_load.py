"""Pods that are created while something happens to the webhook, and handshakes with its port."""

import asyncio
import base64
import ssl
from collections import Counter
from pathlib import Path

from libs.kube.client import Client
from libs.kube.errors import KubeError
from tests.support.kube_ca import SYSTEM, root_map
from tests.support.kube_webhook import ACCOUNT, RunningWebhook
from tests.support.pods import pod

_SECONDS = 60


class Load:
    """Creates pods, and counts what became of them; `pause` is between two, in seconds."""

    def __init__(self, webhook: RunningWebhook, pause: float = 0.0) -> None:
        self._webhook = webhook
        self._pause = pause
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
            await asyncio.sleep(self._pause)

    async def shake_hands(self) -> None:
        """Connect as an API server that has just started, trusting what the bundle says."""
        while True:
            try:
                pem = base64.b64decode(await self._webhook.bundle())
            except KubeError:
                self.counts["bundle not read"] += 1
                continue
            try:
                self.serials.add(await shown(self._webhook.bound.https, pem))
                self.counts["handshakes"] += 1
            except (OSError, TimeoutError) as error:
                self.counts["handshakes failed"] += 1
                self.errors.append(str(error))
            await asyncio.sleep(self._pause)


async def shown(port: int, roots: bytes) -> str:
    """Return the serial number of the certificate at a port; raises OSError if it is not good."""
    context = ssl.create_default_context(cadata=roots.decode())
    name = f"{ACCOUNT}.{SYSTEM}.svc"
    async with asyncio.timeout(_SECONDS):
        _, writer = await asyncio.open_connection(
            "localhost", port, ssl=context, server_hostname=name
        )
    peer = writer.get_extra_info("ssl_object").getpeercert()
    writer.close()
    return str(peer["serialNumber"])


async def follow_roots(client: Client, path: Path) -> None:
    """Do what kubelet does with a mounted ConfigMap."""
    while True:
        await asyncio.to_thread(path.write_text, await root_map(client, SYSTEM))
        await asyncio.sleep(0.2)
