"""SPIFFE's own library (go-spiffe) as a judge of identities and certificates, behind a pipe.

`make tools` builds it; without it a test is skipped and says so.
"""

import base64
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec import Struct

from tests.tools.spiffe import build


class Verdict(Struct, frozen=True):
    """What it read, or why it would not."""

    trust_domain: str
    path: str
    error: str

    @property
    def identity(self) -> str:
        """The identity that it read; empty if it refused."""
        return "" if self.error else f"spiffe://{self.trust_domain}{self.path}"


class Judge:
    """One running judge, asked one thing at a time. Make it with `judging`."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def identity(self, text: str) -> Verdict:
        """Return what it reads in a text."""
        raw = text.encode(errors="surrogatepass")
        return self._ask({"id": base64.b64encode(raw).decode()})

    def certificate(
        self, chain: bytes, key: bytes, *, roots: bytes, trust_domain: str, now: float
    ) -> Verdict:
        """Return what it thinks of a chain, leaf first, with its key; all are PEM."""
        pems = {"chain": chain, "key": key, "roots": roots}
        encoded = {name: base64.b64encode(pem).decode() for name, pem in pems.items()}
        return self._ask({**encoded, "trust_domain": trust_domain, "now": int(now)})

    def _ask(self, question: dict[str, object]) -> Verdict:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return Verdict(**json.loads(self._process.stdout.readline()))


@contextmanager
def judging() -> Iterator[Judge]:
    """Run a judge while the block runs, or skip the test."""
    found = build.find()
    if found is None:
        pytest.skip("no judge of identities on this machine: make tools builds it")
    pipe = subprocess.PIPE
    with subprocess.Popen([found], stdin=pipe, stdout=pipe) as process:  # ends with its input
        yield Judge(process)
