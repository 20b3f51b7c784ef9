"""An intercepted pod that dials what a ServiceEntry declares: where the connection goes on."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import meshed_pod, netns
from tests.support import pods as injection
from tests.support.meshed_pod import MeshedPod, ask

REASON = netns.unavailable()
pytestmark = pytest.mark.skipif(bool(REASON), reason=f"network namespaces: {REASON}")

MOVED, UNMOVED, LISTENING = 8091, 8092, 8093
"""Ports outside: nobody listens on the first two."""


def entry(host: str) -> dict[str, Any]:
    """Return a ServiceEntry of the address outside, whose endpoint the application picks."""
    moved = {"number": MOVED, "name": "http-a", "protocol": "HTTP", "targetPort": LISTENING}
    unmoved = {"number": UNMOVED, "name": "http-b", "protocol": "HTTP"}
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "outside", "namespace": "shop"},
        "spec": {
            "hosts": ["outside.example.com"],
            "addresses": [host],
            "ports": [moved, unmoved],
            "resolution": "NONE",
        },
    }


async def test_a_dialled_address_is_reached_at_the_target_port(tmp_path: Path) -> None:
    with netns.pod() as pod:
        app = {"name": "web", "image": "web:1"}
        given = injection.pod(app, labels={"app": "web"}, serviceAccountName="web")
        wanted = MeshedPod(given, (pod.address,), (entry(pod.host),))
        async with (
            meshed_pod.listening([netns.listen(LISTENING, address=pod.host)]),
            meshed_pod.running(pod, tmp_path, wanted),
        ):
            host = "outside.example.com"
            heard = await ask(pod.dial(pod.host, MOVED), host)
            assert (heard.status, heard.by_envoy) == (200, True)
            assert (await ask(pod.dial(pod.host, UNMOVED), host)).status == 503
