"""Validation through a real API server: milliseconds for VirtualServices of two sizes, by part.

The API server runs on this machine; CA and webhook share this process and its event loop with the
client that asks, which makes them slower than alone. Each VirtualService is created as a dry run,
one after another: one that this webhook is asked about, and, as the floor, one of a revision that
nobody answers for. Our part is a review sent to the port as an API server sends it, over TLS on an
open connection. Every tenth expression and host is new in each admission, as caches would have it
too easy otherwise. CPU is this process's own, client included. Nothing is asserted.

    python -m tests.load.bench_validation [--number 1000] [--size "200 KB"]
"""

import argparse
import asyncio
import ssl
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import msgspec
import yaml
from aiohttp import ClientSession

from libs.api import json_documents
from libs.api.check import check_raw
from libs.kube.client import Client
from tests.support import kube_accounts as kube
from tests.support.kube_apiserver import running
from tests.support.kube_webhook import RunningWebhook, running_webhook

ROUTES = {"1 KB": 2, "20 KB": 40, "200 KB": 400}
PATH = "/apis/networking.istio.io/v1/namespaces/shop/virtualservices"
CRDS = Path(__file__).parents[2] / "deploy" / "crds"
WARM = 20

_fresh = count()


def _route(at: int) -> dict[str, Any]:
    """Return one route, about half a kilobyte, of the kinds that people write."""
    new = f"-{next(_fresh)}" if at % 10 == 0 else ""
    uris: list[dict[str, str]] = [
        {"prefix": f"/shop/v{at}/"},
        {"exact": f"/shop/articles/{at}"},
        {"regex": f"/shop/[a-z]+/{at}{new}/[0-9]+"},
    ]
    destinations = [
        {
            "destination": {"host": f"s{at}{new}.shop.svc.cluster.local", "subset": subset},
            "weight": weight,
        }
        for subset, weight in (("v1", 90), ("v2", 10))
    ]
    return {
        "name": f"route-{at}",
        "match": [
            {"uri": uris[at % 3], "headers": {"x-tenant": {"exact": f"t{at % 7}"}}},
            {"uri": {"prefix": f"/old/v{at}/"}, "queryParams": {"debug": {"exact": "1"}}},
        ],
        "route": destinations,
        "timeout": f"{at % 9 + 1}s",
        "retries": {"attempts": 3, "perTryTimeout": "500ms", "retryOn": "5xx,connect-failure"},
        "headers": {"request": {"set": {"x-route": f"route-{at}"}}},
    }


def routes(number: int, **labels: str) -> dict[str, Any]:
    """Return a VirtualService with as many routes, all good."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "large", "namespace": "shop", "labels": labels},
        "spec": {
            "hosts": ["web.shop.svc.cluster.local"],
            "http": [_route(at) for at in range(number)],
        },
    }


def _print(what: str, seconds: list[float], cpu: float) -> None:
    cuts = quantiles(seconds, n=100)
    figures = f"p50 {median(seconds) * 1e3:7.2f} ms  p99 {cuts[98] * 1e3:7.2f} ms"
    print(f"  {what:<24}{figures}  CPU {cpu / len(seconds) * 1e3:.2f} ms each", flush=True)


def _in_process(make: Callable[[], Any], number: int) -> None:
    seconds, cpu = [], 0.0
    for _ in range(number):
        body = msgspec.json.encode(make())
        started, used = time.perf_counter(), time.process_time()
        raw, _ = json_documents.read(body)
        assert raw is not None
        resource, problems = check_raw(raw)
        seconds.append(time.perf_counter() - started)
        cpu += time.process_time() - used
        assert resource is not None, problems
    _print("the function alone", seconds, cpu)


async def _asked(webhook: RunningWebhook, make: Callable[[], Any], number: int) -> list[float]:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"https://localhost:{webhook.bound.https}/validate"
    headers = {"Content-Type": "application/json"}
    seconds = []
    async with ClientSession() as session:
        for _ in range(number):
            body = msgspec.json.encode(_review(make()))
            started = time.perf_counter()
            async with session.post(url, data=body, headers=headers, ssl=context) as answer:
                said = await answer.json()
            seconds.append(time.perf_counter() - started)
            assert said["response"]["allowed"], said
    return seconds


def _review(given: Any) -> Any:  # noqa: ANN401
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "networking.istio.io", "version": "v1", "kind": "VirtualService"},
        "namespace": "shop",
        "operation": "CREATE",
        "object": given,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


async def _created(client: Client, make: Callable[[], Any], number: int) -> list[float]:
    seconds = []
    for _ in range(number):
        given = make()
        started = time.perf_counter()
        await client.request("POST", PATH, params={"dryRun": "All"}, body=given)
        seconds.append(time.perf_counter() - started)
    return seconds


async def _measure(number: int, sizes: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "api").mkdir()
        with running(folder / "api") as server:
            async with kube.client_of(server, folder) as client:
                for kind in ("virtualservices", "gateways"):
                    definition = (CRDS / f"{kind}.networking.istio.io.yaml").read_text()
                    await kube.define(client, yaml.safe_load(definition))
                await kube.namespace(client, "shop")
                async with running_webhook(server, folder, client) as webhook:
                    for what in sizes:
                        await _of_size(webhook, what, ROUTES[what], number=number)


async def _of_size(webhook: RunningWebhook, what: str, size: int, *, number: int) -> None:
    judged, unjudged = partial(routes, size), partial(routes, size, **{"istio.io/rev": "nobody"})
    large = len(msgspec.json.encode(judged())) / 1000
    print(f"VirtualService of {what}: {size} routes, {large:.0f} kB of JSON, {number} times")
    _in_process(judged, number)
    for name, ask in (
        ("a review to our port", partial(_asked, webhook, judged)),
        ("created, judged", partial(_created, webhook.client, judged)),
        ("created, not asked", partial(_created, webhook.client, unjudged)),
    ):
        await ask(WARM)
        cpu = time.process_time()
        seconds = await ask(number)
        _print(name, seconds, time.process_time() - cpu)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--size", action="append", choices=ROUTES)
    asked = parser.parse_args()
    asyncio.run(_measure(asked.number, asked.size or list(ROUTES)))


if __name__ == "__main__":
    main()
