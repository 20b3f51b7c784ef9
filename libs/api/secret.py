"""Secret: Kubernetes' kind, of which the mesh reads certificates, keys and roots, and little else.

Of the type for that alone it reads who one is to registries of images, too. The contents show in
nothing that prints the object. Values are base64 here as they are in manifests and over the API,
and are only decoded for whoever may have them.
"""

import binascii
from base64 import b64decode
from typing import Any

from libs.api.resource import Resource

_NEVER = frozenset({"helm.sh/release.v1", "kubernetes.io/service-account-token"})
"""Types that are none of a gateway's business, whatever their keys are called."""


REGISTRY_KEY = ".dockerconfigjson"
_REGISTRY_TYPE = "kubernetes.io/dockerconfigjson"


class Secret(Resource, frozen=True):
    """Texts by key that only a few may read."""

    type: str = ""
    data: dict[str, str] = {}
    string_data: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Secret({self.metadata.namespace}/{self.metadata.name})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []

    def value(self, *keys: str) -> bytes:
        """Return the content of the first of `keys` that is there and readable, or nothing."""
        if self.type in _NEVER:
            return b""
        return next(filter(None, map(self._content, keys)), b"")

    @property
    def registry(self) -> bytes:
        """Who one is to registries of images, in JSON, or nothing."""
        return self._content(REGISTRY_KEY) if self.type == _REGISTRY_TYPE else b""

    def _content(self, key: str) -> bytes:
        if key in self.string_data:
            return self.string_data[key].encode()
        try:
            return b64decode("".join(self.data.get(key, "").split()), validate=True)
        except binascii.Error:
            return b""
