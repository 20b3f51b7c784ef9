"""Where a program is and what it sees: its name, its address, the others, and who calls it.

Everything comes from the environment, as the Pod manifests set it. The programs know nothing of
a mesh: they call each other by name in plain text, and only repeat the header in which a sidecar
tells who the caller proved to be.
"""

import os
from collections.abc import Iterable, Mapping
from typing import Any

INSTANCE = os.environ.get("POD_NAME", "unnamed")  # noqa: TID251 - a sample, not a service
VERSION = os.environ.get("VERSION", "v1")  # noqa: TID251
LISTEN = os.environ.get("LISTEN_ADDRESS", "0.0.0.0")  # noqa: S104, TID251 - as in any container
PROOF_HEADER = "x-forwarded-client-cert"

Trail = dict[str, Any]
"""Who answered, whom it saw calling, and its own calls: the JSON form of the message Trail."""


def setting(name: str, default: str) -> str:
    """Return a setting of the program."""
    return os.environ.get(name, default)  # noqa: TID251


def host(service: str) -> str:
    """Return the name of a service, or the address that the environment gives for it.

    Kubernetes itself offers such variables (`CATALOG_SERVICE_HOST`).
    """
    return setting(f"{service.upper()}_SERVICE_HOST", service)


def url(service: str, port: int) -> str:
    """Return the root of a service's URLs. An HTTP proxy resolves names itself."""
    return f"http://{service if setting('http_proxy', '') else host(service)}:{port}"


def caller(headers: Mapping[str, str]) -> str:
    """Return the SPIFFE id that the caller proved to our sidecar, or nothing."""
    for part in headers.get(PROOF_HEADER, "").split(";"):
        name, _, value = part.partition("=")
        if name == "URI":
            return value.strip('"')
    return ""


def trail(headers: Mapping[str, str], calls: Iterable[Trail] = ()) -> Trail:
    """Return who answers here, whom it saw, and what it called for this answer."""
    return {
        "instance": INSTANCE,
        "version": VERSION,
        "caller": caller(headers),
        "calls": list(calls),
    }


def outcome(peer: tuple[str, int, str], *, request: str, result: str, answer: object) -> Trail:
    """Return what became of one call, in the JSON form of the message Call.

    `peer` is service, port and protocol; `answer` is the trail that came back, if any did.
    """
    service, port, protocol = peer
    return {
        "service": service,
        "port": port,
        "protocol": protocol,
        "request": request,
        "outcome": result,
        "trail": answer or {},
    }
