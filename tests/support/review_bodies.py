"""What anybody may send to a webhook's port: bodies, and what must become of each.

They are sent as they are, over TLS, on a connection of their own, since no HTTP client would send
half of them. A `Case` says what the two paths must answer; whatever it is, a body that is no review
is never an admission.
"""

import asyncio
import gzip
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct

from tests.support.webhook_port import Answer, answer

MEGABYTE = 1024 * 1024
Body = bytes | Callable[[], AsyncIterator[bytes]]


class Becomes(StrEnum):
    """What became of a request."""

    REFUSED = "refused"  # the client's fault, 4xx: nothing was decided
    FAILED = "failed"  # 5xx: a bug, or a crash
    ALLOWED = "allowed"
    PATCHED = "patched"
    DENIED = "denied"


class Case(Struct, frozen=True, kw_only=True):
    """A body, its headers, and what each path must make of it."""

    name: str
    body: Body
    headers: dict[str, str] = {}
    inject: frozenset[Becomes]
    validate: frozenset[Becomes]


SLOW = "a byte a second"
"""The one that ends when the port has waited long enough."""
_REFUSED = frozenset({Becomes.REFUSED})
_ALLOWED = frozenset({Becomes.ALLOWED})
_PATCHED = frozenset({Becomes.PATCHED})
_DENIED = frozenset({Becomes.DENIED})


def pod(containers: int = 1, **spec: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a pod that would be injected."""
    made = [{"name": f"app-{at}", "image": "registry.example/app:1"} for at in range(containers)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "on", "labels": {"app": "web"}},
        "spec": {"containers": made, "serviceAccountName": "default", **spec},
    }


def review(shown: Any = None, *, version: str = "v1", **request: Any) -> bytes:  # noqa: ANN401
    """Return a review about an object; by default a good pod that is created."""
    asked = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": {"group": "", "version": "v1", "kind": "Pod"},
        "namespace": "on",
        "operation": "CREATE",
        "object": pod() if shown is None else shown,
        **request,
    }
    return json.dumps(
        {"apiVersion": f"admission.k8s.io/{version}", "kind": "AdmissionReview", "request": asked}
    ).encode()


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield b"10000\r\n" + b" " * 0x10000 + b"\r\n"


async def _dripping() -> AsyncIterator[bytes]:
    while True:
        yield b"{"
        await asyncio.sleep(1)  # this is the attack: a byte a second


def large(size: int) -> Case:
    """Return a body of so many bytes whose length nobody is told, and which then does not end."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // 0x10000):
            yield b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        await asyncio.Event().wait()

    chunked = {"Transfer-Encoding": "chunked", "Content-Length": ""}
    return Case(name=SLOW, body=body, headers=chunked, inject=_REFUSED, validate=_REFUSED)


def no_reviews() -> Iterator[Case]:
    """Yield what is no review, whatever it says."""
    chunked = {"Transfer-Encoding": "chunked", "Content-Length": ""}
    good = json.loads(review())
    bodies: dict[str, tuple[Body, dict[str, str]]] = {
        "7 MiB": (b" " * (7 * MEGABYTE), {}),
        "chunks without end": (_endless, chunked),
        SLOW: (_dripping, {"Content-Length": "1000"}),
        "a compressed bomb": (gzip.compress(b" " * 50_000_000), {"Content-Encoding": "gzip"}),
        "a compressed review": (gzip.compress(review()), {"Content-Encoding": "gzip"}),
        "a form": (review(), {"Content-Type": "application/x-www-form-urlencoded"}),
        "no type": (review(), {"Content-Type": ""}),
        "empty": (b"", {}),
        "null": (b"null", {}),
        "a list": (b"[]", {}),
        "a text": (b'"AdmissionReview"', {}),
        "no JSON": (b"\xff\xfe\x00", {}),
        "nested 100,000 deep": (b"[" * 100_000, {}),
        "nested inside the object": (review().replace(b'"web"', b"[" * 100_000, 1), {}),
        "another kind": (json.dumps({**good, "kind": "Pod"}).encode(), {}),
        "v2": (review(version="v2"), {}),
        "no request": (json.dumps({**good, "request": None}).encode(), {}),
        "no uid": (review(uid=""), {}),
        "a number as uid": (review(uid=7), {}),
    }
    for name, (body, headers) in bodies.items():
        yield Case(name=name, body=body, headers=headers, inject=_REFUSED, validate=_REFUSED)


def odd_reviews() -> Iterator[Case]:
    """Yield reviews that say odd things.

    `/validate` judges Istio's kinds: it lets pods pass, and denies what it can make nothing of.
    """
    secret = {"group": "", "version": "v1", "kind": "Secret"}
    many = pod(1000)
    long = pod()
    long["metadata"]["annotations"] = {"note": "x" * 262_144}
    table: list[tuple[str, bytes, frozenset[Becomes]]] = [
        ("v1beta1", review(version="v1beta1"), _PATCHED),
        ("a kind that nobody asked for", review({"kind": "Secret"}, kind=secret), _ALLOWED),
        ("a text of 1 MB as object", review("x" * 1_000_000), _DENIED),
        ("DELETE with an old object only", review(operation="DELETE", object=None), _ALLOWED),
        ("exec into a pod", review(operation="CONNECT", subResource="exec"), _ALLOWED),
        ("1,000 containers", review(many), _PATCHED),
        ("no containers", review(pod(0)), _PATCHED),  # API servers refuse it themselves
        ("hostNetwork", review(pod(hostNetwork=True)), _ALLOWED),
        ("an annotation of 262,144 bytes", review(long), _PATCHED),
        ("a dry run", review(dryRun=True), _PATCHED),
    ]
    not_judged = {"a kind that nobody asked for", "a text of 1 MB as object"}
    for name, body, inject in table:
        validate = _DENIED if name in not_judged else _ALLOWED
        yield Case(name=name, body=body, inject=inject, validate=validate)


async def send(
    port: int, context: ssl.SSLContext, path: str, case: Case, *, server_name: str
) -> Answer:
    """Send a case and return the answer; what a server no longer reads is not sent."""
    length = {} if callable(case.body) else {"Content-Length": str(len(case.body))}
    given = {"Content-Type": "application/json"} | length | case.headers
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=server_name
    )
    writer.write(f"POST {path} HTTP/1.1\r\nHost: {server_name}\r\n{head}\r\n".encode())
    try:
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_write(writer, case.body))
            found = await answer(reader, writer)
            sending.cancel()
    finally:
        writer.close()
    return found


async def _write(writer: asyncio.StreamWriter, body: Body) -> None:
    try:
        if callable(body):
            async for part in body():
                writer.write(part)
                await writer.drain()
        else:
            writer.write(body)
            await writer.drain()
    except ConnectionError:
        pass  # it has answered without reading the rest


def became(found: Answer) -> Becomes:
    """Return what an answer says."""
    if found.status >= 500:
        return Becomes.FAILED
    if found.status != 200:
        return Becomes.REFUSED
    response = found.json["response"]
    assert isinstance(response, dict)
    if not response["allowed"]:
        return Becomes.DENIED
    return Becomes.PATCHED if response.get("patch") else Becomes.ALLOWED
