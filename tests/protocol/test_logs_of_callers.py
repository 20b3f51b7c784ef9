"""What callers say of themselves, in the log of config-push: it forges no line."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from envoy.service.discovery.v3 import discovery_pb2

from libs.runtime import logs
from libs.xds.types import CLUSTER
from tests.support.mesh import endpoints, mesh, port, service
from tests.support.push_plane import EndedError, running_plane

REVIEWS = service("reviews", port(9080))
WORLD = mesh(REVIEWS, endpoints(REVIEWS, "10.0.0.1"))
HOSTILE = '\x1b[2J\r\n{"level":"error","message":"forged"}\n\u2028'


@contextmanager
def logged(form: logging.Formatter | None = None) -> Iterator[io.StringIO]:
    """Yield what is logged while the block runs, in the form of a service or another one."""
    root, text = logging.getLogger(), io.StringIO()
    before, level = list(root.handlers), root.level
    logs.configure("config-push", "info", stream=text)
    if form is not None:
        for handler in root.handlers:
            handler.setFormatter(form)
    try:
        yield text
    finally:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before
        root.setLevel(level)


class Plain(logging.Formatter):
    """What many programs do: the fields as they are, after the message."""

    def format(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in vars(record).items())
        return f"{record.getMessage()} {fields}"


async def _speak(folder: Path) -> None:
    """Connect with hostile names, refuse what comes in hostile words, ask for a hostile type."""
    async with running_plane(folder) as running:
        running.change(WORLD)
        async with running.proxy(
            "client", "shop", CLUSTER_ID=HOSTILE, ISTIO_VERSION=HOSTILE
        ) as one:
            await one.send(one.client.subscribe(CLUSTER))
            await one.receive(lambda _: HOSTILE)
            made_up = discovery_pb2.DeltaDiscoveryRequest(type_url=f"x/{HOSTILE}")
            await one.send(made_up)
        async with running.proxy(f"client{HOSTILE}", "shop") as other:
            await other.send(other.client.subscribe(CLUSTER))
            with suppress(EndedError):
                await other.receive()


def _forged(text: str) -> list[str]:
    """Return the lines that whoever reads the log takes for some service's own."""
    found = []
    for line in text.split("\n"):
        with suppress(ValueError):
            if json.loads(line)["message"] == "forged":
                found.append(line)
    return found


def _is_json(line: str) -> bool:
    with suppress(ValueError):
        return bool(json.loads(line))
    return False


@pytest.mark.parametrize("form", [None, Plain()], ids=["ours", "the negative control"])
async def test_callers_forge_no_line(tmp_path: Path, form: logging.Formatter | None) -> None:
    with logged(form) as text:
        await _speak(tmp_path)
    said = text.getvalue()
    assert "forged" in said  # it is in there, one way or the other
    forged, lines = _forged(said), said.splitlines()
    sys.stdout.write(f"logs: {len(lines)} lines, forged = {len(forged)}\n")
    assert bool(forged) is (form is not None)
    assert all(map(_is_json, lines)) is (form is None)
    assert ("\x1b" in said) is (form is not None)
