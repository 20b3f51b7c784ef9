"""Identity: what a raw document says of itself, as far as it can be read."""

from collections.abc import Mapping

from msgspec import Struct

from libs.api import registry
from libs.model.ids import Ref, ref

MAX_NAME = 253


class Identity(Struct, frozen=True):
    """Kind, namespace and name; empty where the document does not say."""

    kind: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def ref(self) -> Ref:
        """The reference, or an empty one if kind or name are not known."""
        return ref(self.kind, self.namespace, self.name) if self.kind and self.name else Ref("")


def identify(raw: object) -> Identity:
    """Return who `raw` is, with the namespace that it gets if it names none."""
    if not isinstance(raw, Mapping):
        return Identity()
    kind, metadata = _text(raw, "kind"), raw.get("metadata")
    if not isinstance(metadata, Mapping):
        return Identity(kind)
    found = registry.find(_text(raw, "apiVersion"), kind)
    cluster_scoped = isinstance(found, registry.Kind) and not found.namespaced
    namespace = "" if cluster_scoped else _text(metadata, "namespace") or registry.DEFAULT_NAMESPACE
    return Identity(kind, namespace, _text(metadata, "name"))


def _text(raw: Mapping[str, object], key: str) -> str:
    value = raw.get(key)
    return value if isinstance(value, str) and len(value) <= MAX_NAME else ""
