"""Injection through a real API server: milliseconds for pods of two sizes, our part and the whole.

The API server runs on this machine; CA and webhook share this process and its event loop with the
client that asks, which makes them slower than alone. Each pod is created as a dry run, one after
another, with the namespace's label and, as the floor, in a namespace without it. Our part is a
review sent to the port as an API server sends it, over TLS on an open connection. CPU is this
process's own, client included; it says more than time where other things run as well. Nothing is
asserted.

    python -m tests.load.bench_injection [--number 1000]
"""

import argparse
import asyncio
import ssl
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec
from aiohttp import ClientSession

from libs.inject import shape
from libs.inject.patch import difference
from libs.inject.pods import Asked, inject
from libs.inject.scene import Cluster, NamespaceFacts, Settings
from libs.kube.client import Client
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import running
from tests.support.kube_webhook import RunningWebhook, running_webhook
from tests.support.pods import pod

SIZES = (1_700, 64_000)  # bytes of JSON, about


def _pod(containers: int, variables: int) -> dict[str, Any]:
    made = [
        {
            "name": f"app-{at}",
            "image": "registry.example/team/app:1.2.3",
            "ports": [{"name": f"http-{at}", "containerPort": 8080 + at}],
            "env": [{"name": f"VARIABLE_{n}", "value": "x" * 40} for n in range(variables)],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": f"http-{at}"}},
            "livenessProbe": {"tcpSocket": {"port": 8080 + at}},
        }
        for at in range(containers)
    ]
    return pod(*made, serviceAccountName="default")


def _named(size: int) -> dict[str, Any]:
    """Return a pod whose JSON is about as large."""
    if size < 4000:
        return _pod(1, 15)
    return _pod(28, 28)


def _percentiles(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return f"p50 {median(seconds) * 1e3:6.2f} ms  p99 {cuts[98] * 1e3:6.2f} ms"


def _in_process(given: dict[str, Any], number: int) -> None:
    raw = msgspec.json.encode(given)
    seconds, cpu = [], time.process_time()
    for _ in range(number):
        started = time.perf_counter()
        decoded = msgspec.json.decode(raw)
        assert not shape.wrong(decoded)
        asked = Asked(pod=decoded, namespace=NamespaceFacts(name="on"))
        done = inject(asked, Cluster(), Settings())
        assert done.pod is not None
        msgspec.json.encode(difference(decoded, done.pod))
        seconds.append(time.perf_counter() - started)
    _print("the function alone", seconds, time.process_time() - cpu)


def _print(what: str, seconds: list[float], cpu: float) -> None:
    each = cpu / len(seconds) * 1e3
    print(f"  {what:<22}{_percentiles(seconds)}  CPU {each:.2f} ms each", flush=True)


async def _admitted(webhook: RunningWebhook, space: str, given: Any, number: int) -> list[float]:  # noqa: ANN401
    seconds = []
    for _ in range(number):
        started = time.perf_counter()
        await webhook.create(space, given, dry_run=True)
        seconds.append(time.perf_counter() - started)
    return seconds


async def _asked(webhook: RunningWebhook, given: Any, number: int) -> list[float]:  # noqa: ANN401
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "namespace": "on",
            "operation": "CREATE",
            "object": given,
        },
    }
    body = msgspec.json.encode(review)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"https://localhost:{webhook.bound.https}/inject"
    headers = {"Content-Type": "application/json"}
    seconds = []
    async with ClientSession() as session:
        for _ in range(number):
            started = time.perf_counter()
            async with session.post(url, data=body, headers=headers, ssl=context) as answer:
                await answer.read()
            seconds.append(time.perf_counter() - started)
    return seconds


async def _measure(number: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "api").mkdir()
        with running(folder / "api") as server:
            async with kube.client_of(server, folder) as client:
                await _behind(server, folder, client=client, number=number)


async def _behind(server: Any, folder: Path, *, client: Client, number: int) -> None:  # noqa: ANN401
    async with running_webhook(server, folder, client) as webhook:
        await webhook.label("on", {"istio-injection": "enabled"})
        await webhook.label("off", {})
        for size in SIZES:
            given = _named(size)
            print(f"pod of {len(msgspec.json.encode(given)) / 1000:.1f} kB, {number} times:")
            _in_process(given, number)
            for what, ask in (
                ("a review to our port", partial(_asked, webhook)),
                ("created, injected", partial(_admitted, webhook, "on")),
                ("created, not asked", partial(_admitted, webhook, "off")),
            ):
                await ask(given, 20)
                cpu = time.process_time()
                seconds = await ask(given, number)
                _print(what, seconds, time.process_time() - cpu)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=1000)
    asyncio.run(_measure(parser.parse_args().number))


if __name__ == "__main__":
    main()
