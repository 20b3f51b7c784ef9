"""Hooks: what a pod's lifecycle asks of the agent in the same container, as programs that end.

`wait` holds the other containers back until the proxy is ready, which a postStart hook does;
`request` asks the agent or Envoy for a page, such as a preStop hook asks to drain. They load little
but Python's own HTTP client: kubelet waits for them.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException
from time import monotonic, sleep
from urllib.parse import urlsplit

READY = "http://localhost:15020/healthz/ready"
ADMIN_PORT = 15000
DRAIN_SECONDS = 3600.0
"""A request may drain, for as long as the proxy's settings say; kubelet's patience ends first."""
MAX_BODY = 16 * 1024 * 1024


def wait(arguments: Sequence[str], pause: Callable[[float], None] = sleep) -> int:
    """Return 0 once the proxy is ready, 1 if it did not get so in time."""
    parser = argparse.ArgumentParser("agent wait", description="Wait until the proxy is ready.")
    parser.add_argument("--url", default=READY)
    parser.add_argument("--timeoutSeconds", type=float, default=60.0)
    parser.add_argument("--periodMillis", type=float, default=500.0)
    parser.add_argument("--requestTimeoutMillis", type=float, default=500.0)
    flags = parser.parse_args(arguments)
    end, said = monotonic() + flags.timeoutSeconds, "not asked"
    while monotonic() < end:
        said = _not_ready(flags.url, flags.requestTimeoutMillis / 1000)
        if not said:
            return 0
        pause(flags.periodMillis / 1000)
    sys.stderr.write(f"the proxy is not ready after {flags.timeoutSeconds:g} s: {said}\n")
    return 1


def _not_ready(url: str, seconds: float) -> str:
    at = urlsplit(url)
    try:
        status, body = _ask(at.netloc, "GET", at.path or "/", seconds=seconds)
    except (OSError, HTTPException) as error:
        return str(error) or type(error).__name__
    return "" if status == 200 else body.decode(errors="replace").strip() or str(status)


def request(arguments: Sequence[str]) -> int:
    """Print the answer to a request to this pod's own proxy; return 0 if it is a success."""
    parser = argparse.ArgumentParser("agent request", description="Ask the proxy of this pod.")
    parser.add_argument("--debug-port", type=int, default=ADMIN_PORT)
    parser.add_argument("method")
    parser.add_argument("path")
    flags = parser.parse_args(arguments)
    place, path = f"localhost:{flags.debug_port}", "/" + flags.path.lstrip("/")
    try:
        status, body = _ask(place, flags.method.upper(), path, seconds=DRAIN_SECONDS)
    except (OSError, HTTPException) as error:
        sys.stderr.write(f"{place}: {error}\n")
        return 1
    sys.stdout.write(body.decode(errors="replace"))
    return 0 if 200 <= status < 300 else 1


def _ask(place: str, method: str, path: str, *, seconds: float) -> tuple[int, bytes]:
    connection = HTTPConnection(place, timeout=seconds)
    try:
        connection.request(method, path, headers={"Content-Length": "0"})
        answer = connection.getresponse()
        return answer.status, answer.read(MAX_BODY)
    finally:
        connection.close()
