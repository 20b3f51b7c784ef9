"""Secrets: those of the CA's own namespace, read and written whole.

What is in them, and who may write, is not decided here: see `services.ca.root_secret`.
"""

import base64
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from libs.kube.client import Client
from libs.kube.errors import NotFoundError

OWN, PLUGGED_IN, IN_USE = "istio-ca-secret", "cacerts", "seine-ca-in-use"
ROTATE = "seine.io/rotate"
"""Annotation on our own Secret: each new value asks for one rotation."""
USE_NOW = "seine.io/use-now"
"""Annotation on what is plugged in: the identifier of its signer, to be used whoever trusts it."""

REVOKED = "ca-crl.pem"
"""Key of what is plugged in, for which there is no code: it is said that it has no effect."""

TYPE = "istio.io/ca-root"


class Secret(Struct, frozen=True):
    """What a Secret holds, and its version to write over."""

    content: Mapping[str, bytes]
    version: str
    annotations: Mapping[str, str]


class Secrets:
    """The Secrets of one namespace."""

    def __init__(self, client: Client, namespace: str) -> None:
        self._client = client
        self._folder = f"/api/v1/namespaces/{namespace}/secrets"

    async def get(self, name: str) -> Secret | None:
        """Return a Secret, or None if there is none; raises KubeError."""
        try:
            return _secret(await self._client.get(f"{self._folder}/{name}"))
        except NotFoundError:
            return None

    async def put(
        self,
        name: str,
        content: Mapping[str, bytes],
        *,
        over: str,
        annotations: Mapping[str, str] | None = None,
    ) -> Secret:
        """Write a Secret, over that of the version `over`, or where there is none if that is empty.

        Raises:
            ConflictError: another version is there.
            KubeError: it could not be written.

        """
        metadata: dict[str, Any] = {"name": name}
        if annotations:
            metadata["annotations"] = dict(annotations)
        if over:
            metadata["resourceVersion"] = over
        # Whole, so that keys of a state that is over do not stay behind.
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": TYPE,
            "metadata": metadata,
            "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
        }
        if over:
            return _secret(await self._client.request("PUT", f"{self._folder}/{name}", body=body))
        return _secret(await self._client.request("POST", self._folder, body=body))


def _secret(raw: Mapping[str, Any]) -> Secret:
    data: Mapping[str, str] = raw.get("data") or {}
    return Secret(
        {name: base64.b64decode(value) for name, value in data.items()},
        raw["metadata"]["resourceVersion"],
        raw["metadata"].get("annotations") or {},
    )
